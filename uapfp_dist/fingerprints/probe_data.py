"""A probe and the responses to it, as tensors.

Letters in shapes: B batch, C classes, P points, Q images sent, n points per fingerprint, V views, D = 2 n C.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from uapfp_dist.fingerprints.blocks import BlockKey


@dataclass(frozen=True)
class Block:
    """One kind of perturbation of the points: S images to send, and where each view finds its responses."""

    perturbations: Tensor
    """(K, c, h, w): K universal ones, or one for each point."""
    point: Tensor
    """(S,) int64: the point of each image sent."""
    which: Tensor
    """(S,) int64: the perturbation added to it."""
    gather: Tensor
    """(V, n) int64 into the S responses."""


@dataclass(frozen=True)
class UapSet:
    """The UAPs of one radius, as means over them."""

    n_uaps: int
    xi: float
    l2: float
    linf: float
    fooling_rate: float
    """On held-out images, before clipping."""
    fooling_rate_clipped: float


@dataclass(frozen=True)
class ProbeSummary:
    """What was measured while a probe was made."""

    uaps: Mapping[float, UapSet] = field(default_factory=dict)
    """Radius as a fraction of the paper's xi (1: the paper's own UAP) to its UAPs."""
    mean_image_norm: float = math.nan
    """Mean l2 norm of the victim's training images."""
    fooling_target_reached: bool = False
    """Whether the paper's UAP fools as many images as UapConfig.target_fooling asks for."""
    natural_errors: int = 0
    """Natural errors among the images of that block."""
    topped_up: int = 0
    """Lowest margins among them."""
    deepfool: UapSet | None = None
    """The UAP by Moosavi-Dezfooli's algorithm; None in a probe without references."""
    lap_minimal_l2: float | None = None
    """Mean l2 norm of DeepFool's own perturbations; None likewise."""
    ipguard_reached: float | None = None
    """Share of IPGuard's points that reached the decision boundary; None likewise."""
    fooling_on_eval: float | None = None
    """Share of EVAL that the paper's UAP fools, before clipping: xi was chosen on PROBE. In references."""
    ipguard_targets: Mapping[float, float] = field(default_factory=dict)
    """k to the share of images that reached the label wanted of them, in references."""


@dataclass(frozen=True)
class Probe:
    """What a suspect is sent, and how fingerprints are gathered from its responses."""

    points: Tensor
    """(P, c, h, w) in [0, 1]: the unique images of all views, sent as block `clean`."""
    views: Tensor
    """(V, n) int64 into `points`; column i is cluster i."""
    blocks: dict[BlockKey, Block]
    """Perturbed ones."""
    natural: Tensor
    """(E, c, h, w) PROBE images: natural errors first, then lowest margins."""
    natural_labels: Tensor
    """(E,) the victim's (mostly wrong) label."""
    n_test_views: int
    """Views that a suspect is sent: the first so many."""
    round_to_8_bits: bool = False
    """Every image is sent as an API that takes 8-bit images would see it."""
    summary: ProbeSummary = field(default_factory=ProbeSummary)
    """For reports."""
    natural_truth: Tensor | None = None
    """(E,) int64: the true labels of a probe's `natural`, where they are known; beside references."""
    jpeg_quality: int | None = None
    """Every image is sent as it is read from a JPEG file of this quality; None: no such file."""
    read_from_files: dict[BlockKey, Tensor] = field(default_factory=dict, repr=False, compare=False)
    """Block to its (S, c, h, w) uint8 images as they were read from those, once for all models that are asked."""


@dataclass(frozen=True)
class Responses:
    """Probabilities only. Past this point no code can look at a suspect's weights: the threat model as a type."""

    blocks: dict[BlockKey, Tensor]
    """Block to (Q, C): `clean`, `natural` and one per perturbation."""
