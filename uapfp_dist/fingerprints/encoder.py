"""The contrastive encoder (paper Section 4.3, Eq. 7).

Many encoders are trained at once: one per resample of the zoo, per method, per format, and five more for each to
choose between formats without looking at a calibration or test model. Those of one method differ only in which models
they may see, so they are trained together, as a stack: one large matrix product instead of many small ones.

The first layer is parametrised in the span of the training fingerprints. Outside of it the gradient is zero: random
initial weights there would stay what they are and only add noise to a suspect's embedding (and cost D / rank more).

Two plain losses stand beside the contrastive one, for the comparison in the paper's supplement. Only the head that the
loss needs is added; the encoder starts from the same weights, sees the same batches and is compared by the same cosine.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from uapfp_dist.errors import unknown_name
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.method_configs import EncoderConfig

LONG = 2**13
"""Numbers in a fingerprint from which its principal directions are found without an SVD of all fingerprints."""


LOSSES = ("supcon", "cross_entropy", "autoencoder")


def supcon_loss(z: Tensor, labels: Tensor, tau: float, weight: Tensor | None = None) -> Tensor:
    """Eq. 7 for a stack of encoders: the mean over positives stands outside the logarithm, self is excluded.

    Args:
        z: (S, B, E) embeddings; cosines are taken here. A zero vector has cosine 0 to everything.
        labels: (B,) int64.
        tau: temperature.
        weight: (S, B) bool, False where a sample does not exist for an encoder of the stack; all exist by default.

    Returns:
        (S,) sums over anchors. Anchors without a positive contribute 0.
    """
    unit = z / z.norm(dim=2, keepdim=True).clamp_min(1e-12)
    present = (torch.ones(z.shape[:2], dtype=torch.bool, device=z.device) if weight is None else weight)[..., None]
    kept = unit * present
    classes = (labels[:, None] == labels.unique()).to(z.dtype)
    n_positive = (classes @ (classes.T @ present.to(z.dtype)))[..., 0] - 1.0
    # Cosines add up: those with all positives are one product with the positives' sum, no (B, B) matrix is needed.
    positives = classes @ (classes.T @ kept) - kept
    mean_positive = (unit * positives).sum(2) / (tau * n_positive.clamp_min(1.0))
    log_sum: Tensor = _LogSumOfOthers.apply(unit, present.to(z.dtype), tau)
    counted = present[..., 0] & (n_positive > 0)
    return torch.where(counted, log_sum - mean_positive, torch.zeros_like(log_sum)).sum(1)


class _LogSumOfOthers(torch.autograd.Function):
    """The denominator of Eq. 7: (S, B) log of the sum of exp(cosine / tau) over the others that are present.

    By hand, because the (B, B) matrices are where the time goes: they are symmetric, so that the gradient's two
    products are one, and the exponentials are all that is kept of them.
    """

    @staticmethod
    def forward(ctx: Any, unit: Tensor, present: Tensor, tau: float) -> Tensor:
        # Cosines are at most 1: exp(cosine / tau) cannot overflow for tau above .0113 and needs no shift.
        similar = torch.bmm(unit, unit.transpose(1, 2) / tau).exp_()
        similar.diagonal(dim1=1, dim2=2).zero_()
        total = torch.bmm(similar, present).clamp_min(1e-30)
        ctx.save_for_backward(unit, present, similar, total)
        ctx.tau = tau
        return total.log()[..., 0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        unit, present, similar, total = ctx.saved_tensors
        share = gradient[..., None] / total
        as_anchor, as_other = torch.bmm(similar, torch.cat([present * unit, share * unit], 2)).chunk(2, 2)
        return (share * as_anchor + present * as_other) / ctx.tau, None, None


def plain_loss(z: Tensor, head: list[Tensor], labels: Tensor, coordinates: Tensor) -> Tensor:
    """Cross-entropy behind a head of one layer, squared error of the coordinates behind a head of two.

    Args:
        z: (S, B, E) embeddings.
        head: weights and biases, (S, E, 2) and (S, 1, 2), or (S, E, H), (S, 1, H), (S, H, R) and (S, 1, R).
        labels: (B,) int64, 0 or 1.
        coordinates: (B, R) of the fingerprints.

    Returns:
        (S, B) losses.
    """
    w, b, *decoder = head
    out = torch.baddbmm(b, z, w)
    if not decoder:
        return F.cross_entropy(out.flatten(0, 1), labels.repeat(len(z)), reduction="none").view(z.shape[:2])
    w, b = decoder
    return (torch.baddbmm(b, torch.relu(out), w) - coordinates).square().mean(2)


@dataclass(frozen=True)
class EncoderStack:
    """S encoders of equal shape: D -> R -> hidden -> E, the first map common and orthonormal, ReLU after the others."""

    basis: Tensor
    """(D, R) orthonormal columns: the span of the training fingerprints."""
    w1: Tensor
    """(S, R, H)"""
    b1: Tensor
    """(S, 1, H)"""
    w2: Tensor
    """(S, H, E)"""
    b2: Tensor
    """(S, 1, E)"""

    def __call__(self, fingerprints: Tensor) -> Tensor:
        """(B, D) to (S, B, E), every entry at least 0."""
        return self.encode(fingerprints @ self.basis)

    def encode(self, coordinates: Tensor) -> Tensor:
        """(B, R) coordinates in the span to (S, B, E)."""
        stack, rank, hidden = self.w1.shape
        joint = coordinates @ self.w1.permute(1, 0, 2).reshape(rank, stack * hidden)
        h = torch.relu(joint.view(-1, stack, hidden).transpose(0, 1) + self.b1)
        return torch.relu(torch.baddbmm(self.b2, h, self.w2))

    def similarity(self, fingerprints: Tensor, victim: Tensor) -> Tensor:
        """(S, ..., V) cosines between suspects' fingerprints (..., V, D) and the victim's of the same view (V, D).

        An all-zero embedding has no cosine: it scores 0.
        """
        with torch.no_grad():
            a = self(fingerprints.flatten(0, -2)).unflatten(1, fingerprints.shape[:-1])
            b = self(victim)
            b = b.view(b.shape[0], *([1] * (a.dim() - 3)), *b.shape[1:])
            scale = a.norm(dim=-1) * b.norm(dim=-1)
            return torch.where(scale > 0, (a * b).sum(-1) / scale.clamp_min(1e-12), torch.zeros_like(scale))


def fit_encoders(fingerprints: Tensor, labels: Tensor, keep: Tensor, config: EncoderConfig, seed: str) -> EncoderStack:
    """Train a stack of encoders on the same fingerprints, each on the models it may see.

    Args:
        fingerprints: (M, V, D) of the training models, the victim among them.
        labels: (M,) 0 for the victim and its piracy, 1 for homologous models.
        keep: (S, M) bool: which models encoder s is trained on.
        seed: names the randomness; all encoders of the stack start from the same weights and see the same batches.

    Raises:
        UserError: an unknown loss.
    """
    if config.loss not in LOSSES:
        raise unknown_name("encoder loss", config.loss, LOSSES)
    rng = torch_rng(seed, "encoder")
    flat = fingerprints.flatten(0, 1)
    basis = span_of(flat, config.span)
    coordinates = flat @ basis
    parameters = [p.requires_grad_() for p in _initial(len(keep), flat.shape[1], basis, config, rng)]
    head = [p.requires_grad_() for p in _initial_head(len(keep), basis.shape[1], config, rng)]
    encoders = EncoderStack(basis, *parameters)
    optimizer = torch.optim.Adam([*parameters, *head], lr=config.learning_rate, fused=True)
    view_labels = labels.repeat_interleave(fingerprints.shape[1])
    view_keep = keep.repeat_interleave(fingerprints.shape[1], dim=1)
    for _ in range(config.epochs):
        for batch in torch.randperm(len(flat), generator=rng).split(config.batch_size):
            z = encoders.encode(coordinates[batch])
            mask = view_keep[:, batch]
            if config.loss == "supcon":
                loss = supcon_loss(z, view_labels[batch], config.tau, mask)
            else:
                loss = (plain_loss(z, head, view_labels[batch], coordinates[batch]) * mask).sum(1)
            loss = loss / mask.sum(1).clamp_min(1)
            optimizer.zero_grad()
            loss.sum().backward()
            optimizer.step()
    w1, *rest = (p.detach() for p in parameters)
    return EncoderStack(basis, _within_own_span(w1, coordinates, view_keep, config.span), *rest)


def _within_own_span(w1: Tensor, coordinates: Tensor, keep: Tensor, most: int) -> Tensor:
    """(S, R, H) first layers without the directions that only models left out of an encoder's training have.

    There the weights are still the random initial ones; a suspect has no such component, so a left-out model must not.
    """
    own = [span_of(coordinates[kept], most) if not kept.all() else None for kept in keep]
    return torch.stack([w if v is None else v @ (v.T @ w) for v, w in zip(own, w1, strict=True)])


def span_of(fingerprints: Tensor, most: int) -> Tensor:
    """(D, R) orthonormal basis of the rows of (B, D), strongest direction first, R at most `most`."""
    if fingerprints.shape[1] > LONG:
        return _span_of_long(fingerprints, most)
    _, strength, directions = torch.linalg.svd(fingerprints, full_matrices=False)
    rank = int((strength > 1e-5 * strength[0]).sum())
    return directions[: min(rank, most)].T.contiguous()


def _span_of_long(fingerprints: Tensor, most: int) -> Tensor:
    """The same by the (B, B) matrix of products, in double precision: a fraction of the time and memory of the SVD."""
    gram = fingerprints.new_zeros(len(fingerprints), len(fingerprints), dtype=torch.float64)
    for part in fingerprints.split(LONG // 2, dim=1):
        part = part.double()
        gram.addmm_(part, part.T)
    energy, vectors = torch.linalg.eigh(gram)
    rank = min(int((energy > 1e-10 * energy[-1]).sum()), most)
    # QR gives them norm 1, and back the right angles that the weak ones lose to rounding in single precision.
    return torch.linalg.qr(fingerprints.T @ vectors[:, -rank:].flip(1).float()).Q.contiguous()


def _initial(stack: int, dims: int, basis: Tensor, config: EncoderConfig, rng: torch.Generator) -> list[Tensor]:
    """torch's default for linear layers of D inputs, the first one seen from within the span; equal over the stack."""
    layers = [
        basis.T @ _uniform(rng, dims, dims, config.hidden),
        _uniform(rng, dims, 1, config.hidden),
        _uniform(rng, config.hidden, config.hidden, config.embedding),
        _uniform(rng, config.hidden, 1, config.embedding),
    ]
    return [layer.expand(stack, *layer.shape[1:]).clone() for layer in layers]


def _initial_head(stack: int, rank: int, config: EncoderConfig, rng: torch.Generator) -> list[Tensor]:
    """Likewise what the loss needs beside the encoder: nothing, a classifier, or the encoder's mirror image."""
    widths = {
        "supcon": [],
        "cross_entropy": [config.embedding, 2],
        "autoencoder": [config.embedding, config.hidden, rank],
    }[config.loss]
    layers = [_uniform(rng, fan_in, rows, out) for fan_in, out in pairwise(widths) for rows in (fan_in, 1)]
    return [layer.expand(stack, *layer.shape[1:]).clone() for layer in layers]


def _uniform(rng: torch.Generator, fan_in: int, *shape: int) -> Tensor:
    return (torch.rand(1, *shape, generator=rng) * 2 - 1) * (1.0 / fan_in) ** 0.5
