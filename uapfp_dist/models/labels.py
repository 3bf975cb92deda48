"""Labels made noisy or smooth before a net is trained on them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.tasks.label_specs import LabelChange


def changed_labels(targets: Tensor, change: LabelChange, n_classes: int, rng: torch.Generator) -> Tensor:
    """Labels with noise (Natarajan et al., 2013), then smoothed (Szegedy et al., 2016).

    Args:
        targets: (N,) int64 labels or (N, C) probabilities.
        change: how much of both.
        n_classes: C.
        rng: CPU generator: which images get another label, and which one.

    Returns:
        (N,) int64 where nothing is smoothed and `targets` are, else (N, C) probabilities. A noisy label is one-hot
        among probabilities.

    Raises:
        UserError: noise outside [0, 1], smoothing outside [0, 1), or noise between fewer than 2 classes.
    """
    if not (0.0 <= change.noise <= 1.0 and 0.0 <= change.smoothing < 1.0):
        raise UserError(
            "labels: expected noise from 0 to 1 and smoothing from 0 to below 1, got noise "
            f"{change.noise:g} and smoothing {change.smoothing:g}; choose e.g. 0.1"
        )
    if change.noise and n_classes < 2:
        raise UserError(f"label noise: expected at least 2 classes, got {n_classes}; leave it out")
    if change.noise:
        targets = _noisy(targets, change.noise, n_classes, rng)
    if change.smoothing:
        targets = F.one_hot(targets, n_classes).float() if targets.dim() == 1 else targets
        targets = targets * (1.0 - change.smoothing) + change.smoothing / n_classes
    return targets


def _noisy(targets: Tensor, noise: float, n_classes: int, rng: torch.Generator) -> Tensor:
    chosen = torch.randperm(len(targets), generator=rng)[: round(noise * len(targets))].to(targets.device)
    moves = torch.randint(1, n_classes, (len(chosen),), generator=rng).to(targets.device)
    labels = targets[chosen] if targets.dim() == 1 else targets[chosen].argmax(1)
    others = (labels + moves) % n_classes
    targets = targets.clone()
    targets[chosen] = others if targets.dim() == 1 else F.one_hot(others, n_classes).to(targets)
    return targets
