"""A probe and the responses to it, as tensors.

Letters in shapes: B batch, C classes, P points, Q images sent, n points per fingerprint, V views, D = 2 n C.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Block:
    """One kind of perturbation of the points: S images to send, and where each view finds its answers."""

    perturbations: Tensor
    """(K, c, h, w): K universal ones, or one for each point."""
    point: Tensor
    """(S,) int64: the point of each image sent."""
    which: Tensor
    """(S,) int64: the perturbation added to it."""
    gather: Tensor
    """(V, n) int64 into the S answers."""


@dataclass(frozen=True)
class Probe:
    """What a suspect is sent, and how fingerprints are gathered from its answers."""

    points: Tensor
    """(P, c, h, w) in [0, 1]: the unique images of all views, sent as block `clean`."""
    views: Tensor
    """(V, n) int64 into `points`; column i is cluster i."""
    blocks: dict[str, Block]
    """By name, e.g. `uap@0.5`."""
    natural: Tensor
    """(E, c, h, w) PROBE images: natural errors first, then lowest margins."""
    natural_labels: Tensor
    """(E,) the victim's (mostly wrong) label."""
    info: dict[str, Any]
    """xi, norms, fooling rates, counts, seconds."""


@dataclass(frozen=True)
class Responses:
    """Probabilities only. Past this point no code can look at a suspect's weights: the threat model as a type."""

    blocks: dict[str, Tensor]
    """Block name to (Q, C): `clean`, `natural` and one per perturbation."""
