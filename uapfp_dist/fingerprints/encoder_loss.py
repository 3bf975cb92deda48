"""What encoders are trained by: the contrastive loss (paper Eq. 7), and two plain ones to compare it with."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

LOSSES = ("supcon", "cross_entropy", "autoencoder")


def supcon_loss(z: Tensor, classes: Tensor, tau: float) -> Tensor:
    """Eq. 7 for a stack of encoders: the mean over positives stands outside the logarithm, self is excluded.

    Args:
        z: (S, B, E) embeddings; cosines are taken here. A zero vector has cosine 0 to everything.
        classes: (S, B, K) from `membership`.
        tau: temperature.

    Returns:
        (S,) sums over anchors. Anchors without a positive contribute 0.
    """
    loss: Tensor = _SupCon.apply(z, classes, tau)
    return loss


def membership(z: Tensor, labels: Tensor, present: Tensor) -> Tensor:
    """(S, B, K) of `z`'s type: 1 where a sample exists and is of class k.

    Args:
        z: (S, B, E) embeddings.
        labels: (B,) or (S, B) int64.
        present: (S, B) bool, False where a sample does not exist for an encoder of the stack.
    """
    return (labels[..., None] == labels.unique()).to(z.dtype) * present[..., None]


class _SupCon(torch.autograd.Function):
    """By hand, because the (B, B) matrix of cosines is where the time goes: one exponential and two products of it.

    The positives need none: their cosines add up to one with the sum of a class. In the gradient the two products of
    an anchor and of a contrast are one, because the matrix is symmetric.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, classes: Tensor, tau: float) -> Tensor:
        present = classes.sum(2, keepdim=True)
        norm = z.norm(dim=2, keepdim=True)
        per_norm = torch.where(norm > 1e-12, 1.0 / norm, torch.zeros_like(norm))
        unit = z * (per_norm * present)
        # Cosines are at most 1: exp(cosine / tau) cannot overflow for tau above .0113 and needs no shift.
        similar = torch.bmm(unit, unit.transpose(1, 2) / tau).exp_()
        if not present.all():
            similar *= present.transpose(1, 2)
        similar.diagonal(dim1=1, dim2=2).zero_()
        total = similar.sum(2, keepdim=True).clamp_min_(1e-30)
        n_positive = (classes @ classes.sum(1, keepdim=True).transpose(1, 2)) - 1.0
        positives = classes @ (classes.transpose(1, 2) @ unit) - unit
        counted = present * (n_positive > 0)
        per_positive = counted / (n_positive.clamp_min(1.0) * tau)
        ctx.save_for_backward(unit, per_norm, similar, counted / total, per_positive, positives, present)
        ctx.tau = tau
        loss = counted * total.log() - per_positive * (unit * positives).sum(2, keepdim=True)
        return loss.sum((1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        unit, per_norm, similar, share, per_positive, positives, present = ctx.saved_tensors
        pairs = torch.bmm((share + share.transpose(1, 2)).mul_(similar), unit) / ctx.tau
        of_unit = (pairs - 2.0 * per_positive * positives) * present
        across = of_unit - unit * (of_unit * unit).sum(2, keepdim=True)
        return across * (per_norm * gradient[:, None, None]), None, None


def plain_loss(z: Tensor, head: list[Tensor], labels: Tensor, coordinates: Tensor) -> Tensor:
    """Cross-entropy behind a head of one layer, squared error of the coordinates behind a head of two.

    Args:
        z: (S, B, E) embeddings.
        head: weights and biases, (S, E, 2) and (S, 1, 2), or (S, E, H), (S, 1, H), (S, H, R) and (S, 1, R).
        labels: (B,) or (S, B) int64, 0 or 1.
        coordinates: (B, R) or (S, B, R) of the fingerprints.

    Returns:
        (S, B) losses.
    """
    w, b, *decoder = head
    out = torch.baddbmm(b, z, w)
    if not decoder:
        every = labels.expand(z.shape[:2])
        return F.cross_entropy(out.flatten(0, 1), every.flatten(), reduction="none").view(z.shape[:2])
    w, b = decoder
    return (torch.baddbmm(b, torch.relu(out), w) - coordinates).square().mean(2)
