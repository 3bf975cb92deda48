"""The span of fingerprints: an orthonormal basis of it, and weights restricted to it."""

import torch
from torch import Tensor

LONG = 2**13
"""Numbers in a fingerprint from which its principal directions are found without an SVD of all fingerprints."""
WEAKEST = 1e-5
"""A direction counts from this share of the strongest one's singular value."""

CLEAR = 1e-2
"""From this share it is found in single precision by the squares of the singular values."""


def span_of(fingerprints: Tensor, most: int) -> Tensor:
    """(D, R) orthonormal basis of the rows of (B, D), strongest direction first, R at most `most`."""
    if fingerprints.shape[1] > LONG:
        return _span_of_long(fingerprints, most)
    if len(fingerprints) >= fingerprints.shape[1] >= 2 * most:
        # Few directions of many: the (D, D) matrix of products takes a third of the time of the SVD, and as much
        # precision as is left of directions that are not weak.
        try:
            energy, vectors = torch.linalg.eigh(fingerprints.T @ fingerprints)
        except torch.linalg.LinAlgError:
            # LAPACK in single precision gives up where most directions are missing, as among labels.
            double = fingerprints.double()
            return _strongest(double.T @ double, most).to(fingerprints.dtype).contiguous()
        if energy[-most] > CLEAR**2 * energy[-1]:
            return vectors[:, -most:].flip(1).contiguous()
    _, strength, directions = torch.linalg.svd(fingerprints, full_matrices=False)
    rank = int((strength > WEAKEST * strength[0]).sum())
    return directions[: min(rank, most)].T.contiguous()


def _span_of_long(fingerprints: Tensor, most: int) -> Tensor:
    """The same by the (B, B) matrix of products, in double precision: a fraction of the time and memory of the SVD."""
    gram = fingerprints.new_zeros(len(fingerprints), len(fingerprints), dtype=torch.float64)
    for part in fingerprints.split(LONG // 2, dim=1):
        part = part.double()
        gram.addmm_(part, part.T)
    mixtures = _strongest(gram, most).to(fingerprints.dtype)
    # QR gives them norm 1, and back the right angles that the weak ones lose to rounding in single precision.
    return torch.linalg.qr(fingerprints.T @ mixtures).Q.contiguous()


def _strongest(gram: Tensor, most: int) -> Tensor:
    """At most `most` eigenvectors of a matrix of products in double precision, strongest first, without weak ones."""
    energy, vectors = torch.linalg.eigh(gram)
    rank = min(int((energy > WEAKEST**2 * energy[-1]).sum()), most)
    return vectors[:, -rank:].flip(1)


def within_span(weights: Tensor, coordinates: Tensor, most: int) -> Tensor:
    """(R, H) weights without the directions that no row of (B, R) `coordinates` has.

    Where the rows are independent, or there is nothing that they lack, this is known by a Cholesky decomposition, at a
    small share of the SVD's cost.
    """
    n_rows, rank = coordinates.shape
    double = coordinates.double()
    if n_rows >= rank and rank <= most and _all_directions_count(double.T @ double):
        return weights
    if n_rows < rank and n_rows <= most and _all_directions_count(double @ double.T):
        basis = torch.linalg.qr(coordinates.T).Q
    else:
        basis = span_of(coordinates, most)
    return basis @ (basis.T @ weights)


def _all_directions_count(gram: Tensor) -> bool:
    """Whether every eigenvalue of a matrix of products is above the threshold; False where that is in doubt."""
    bound = WEAKEST**2 * gram.diagonal().sum()  # at least as much as the threshold: the trace bounds the strongest
    return (
        int(torch.linalg.cholesky_ex(gram - bound * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)).info)
        == 0
    )
