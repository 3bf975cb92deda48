"""The contrastive encoder (paper Section 4.3): a stack of them, and how similar they find fingerprints.

The first layer is parametrised in the span of the training fingerprints. Outside of it the gradient is zero: random
initial weights there would stay what they are and only add noise to a suspect's embedding (and cost D / rank more).
"""

from dataclasses import dataclass

import torch
from torch import Tensor


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
        return encode((fingerprints @ self.basis).expand(len(self.w1), -1, -1), [self.w1, self.b1, self.w2, self.b2])

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


def encode(coordinates: Tensor, layers: list[Tensor]) -> Tensor:
    """(S, B, R) coordinates in the span to (S, B, E), by (S, R, H), (S, 1, H), (S, H, E) and (S, 1, E)."""
    w1, b1, w2, b2 = layers
    hidden = torch.relu(torch.baddbmm(b1, coordinates, w1))
    return torch.relu(torch.baddbmm(b2, hidden, w2))
