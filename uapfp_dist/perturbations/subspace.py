"""UAP subspaces (paper Section 4.1, Eq. 5, Fig. 2): many UAPs of one model, and the distance to those of another."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from uapfp_dist.errors import UserError
from uapfp_dist.perturbations.uap import descend, predict
from uapfp_dist.tasks.method_configs import SubspaceConfig

BATCH = 50
"""Images per UAP and step."""
MAX_ROUNDS = 6
"""Of passes, after which a UAP stays as it is however much of its start it has kept."""
IMAGES_AT_ONCE = 500
"""Images per forward pass, of several UAPs: bounds memory."""


@dataclass(frozen=True)
class UapStart:
    """The random choices behind one UAP; `generator` then draws the orders as `uap_sgd` does."""

    subset: Tensor
    """(n,) int64: the random half of the images that it is fitted on."""
    start: Tensor
    """(1, c, h, w) of unit norm."""
    generator: torch.Generator


def uap_starts(images: Tensor, n_uaps: int, rng: torch.Generator) -> Iterator[UapStart]:
    """One start per UAP, each from a seed of its own: the first UAPs do not depend on `n_uaps`."""
    for seed in torch.randint(2**62, (n_uaps,), generator=rng).tolist():
        generator = torch.Generator().manual_seed(seed)
        subset = torch.randperm(len(images), generator=generator)[: len(images) // 2]
        start = torch.randn(images[:1].shape, generator=generator, dtype=torch.float64)
        yield UapStart(subset, (start / start.norm()).to(images), generator)


def uap_matrix(model: nn.Module, images: Tensor, config: SubspaceConfig, xi: float, rng: torch.Generator) -> Tensor:
    """UAPs of one model that differ by random start, by images (a random half each) and by their order.

    Each equals the result of `uap_sgd` for its start, images and order, but many are fitted at once. One that has not
    forgotten its start goes on from where it is, in another order.

    Args:
        model: (B, c, h, w) to logits, in evaluation mode.
        images: (N, c, h, w) to fool, on the model's device.
        config: how many UAPs, and the passes over the images of each.
        xi: radius of the l2 ball in which they are fitted.
        rng: CPU generator.

    Returns:
        (n_uaps, d) rows of unit norm, d = c h w, on the device of `images`.

    Raises:
        UserError: fewer than two images.
    """
    if len(images) < 2:
        raise UserError(f"UAP subspace: expected at least 2 images to split into halves, got {len(images)}; give more")
    labels = predict(model, images)
    all_starts = list(uap_starts(images, config.n_uaps, rng))
    found = []
    for part in _split(all_starts, max(1, IMAGES_AT_ONCE // BATCH)):
        starts = torch.cat([one.start for one in part])
        v = starts * (xi * config.start)
        rows = list(range(len(part)))
        for _ in range(MAX_ROUNDS):
            orders = torch.stack([_orders(part[i], config.passes) for i in rows])
            v[rows] = descend(model, images, labels, v[rows], orders, xi, BATCH)
            cosines = start_cosines(v.flatten(1), starts)
            rows = [i for i in rows if config.largest_cosine < 1 and float(cosines[i]) >= config.largest_cosine]
            if not rows:
                break
        found.append(v.flatten(1))
    v = torch.cat(found)
    return v / v.norm(dim=1, keepdim=True).clamp_min(1e-12)


def start_cosines(uaps: Tensor, starts: Tensor) -> Tensor:
    """(n,) cosines of UAPs (n, d) to the vectors (n, c, h, w) that they started from."""
    return torch.nn.functional.cosine_similarity(uaps.double(), starts.flatten(1).double(), dim=1)


def _split(starts: list[UapStart], size: int) -> list[list[UapStart]]:
    return [starts[i : i + size] for i in range(0, len(starts), size)]


def _orders(start: UapStart, passes: int) -> Tensor:
    """(passes, n) int64 into all images."""
    n = len(start.subset)
    return torch.stack([start.subset[torch.randperm(n, generator=start.generator)] for _ in range(passes)])


def principal_directions(uaps: Tensor) -> Tensor:
    """The right singular vectors of a UAP matrix, largest singular value first.

    Args:
        uaps: (n_uaps, d).

    Returns:
        (r, d) float64, orthonormal rows; r is the rank.
    """
    _, values, directions = torch.linalg.svd(uaps.double(), full_matrices=False)
    precision = torch.finfo(uaps.dtype).eps  # rounding errors of the UAPs are no direction
    return directions[values > values[0] * max(uaps.shape) * precision]


def energies(uaps: Tensor, directions: Tensor) -> Tensor:
    """Mean over UAPs of their squared projections on each direction (protocol 2.17).

    Args:
        uaps: (n_uaps, d) of unit norm.
        directions: (r, d) orthonormal.

    Returns:
        (r,) float64 in [0, 1]; the sum is 1 where the directions span the UAPs, less elsewhere.

    Raises:
        UserError: the two have different d.
    """
    if uaps.shape[1] != directions.shape[1]:
        raise UserError(
            f"UAP subspace: expected UAPs of dimension {directions.shape[1]}, as the directions have, "
            f"got {uaps.shape[1]}; compare models of the same images"
        )
    return (uaps.double() @ directions.double().T).square().mean(0)


def inconsist(suspect: Tensor, victim: Tensor) -> float:
    """Eq. 5 on energies: squared l2 distance between those of suspect and victim on the victim's directions.

    Divided by the number of UAPs before the square, so that models with different numbers of UAPs compare.

    Args:
        suspect: (n_uaps, d) UAPs of unit norm.
        victim: (m_uaps, d) likewise.

    Returns:
        0 for the victim itself, at most 2.
    """
    directions = principal_directions(victim)
    return float((energies(suspect, directions) - energies(victim, directions)).square().sum())
