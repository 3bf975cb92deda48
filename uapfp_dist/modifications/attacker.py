"""What an attacker has for the modification of a model."""

from dataclasses import dataclass

import torch
from torch import Tensor

from uapfp_dist.models.net import Net
from uapfp_dist.tasks.specs import Recipe


@dataclass(frozen=True)
class AttackerData:
    """The attacker's images, on the net's device."""

    images: Tensor
    """(N, c, h, w) in [0, 1]: ATTACK."""
    labels: Tensor
    """(N,) int64, the truth."""
    unlabelled: Tensor
    """(M, c, h, w) in [0, 1]: further images, for distillation, PGD training and guessed churn."""


@dataclass(frozen=True)
class AttackerContext:
    """Data, training recipe, random generator, and the nets involved beside the one that is modified."""

    data: AttackerData
    recipe: Recipe
    rng: torch.Generator
    """CPU generator."""
    teacher: Net
    """The attacker's model before the first iteration of adversarial training."""
    student: Net | None
    """A net with random weights that learns from the model, for distillation."""
    siblings: tuple[Net, ...] = ()
    """Nets by the recipe and the training labels of the model, from other seeds, for guessed churn."""
