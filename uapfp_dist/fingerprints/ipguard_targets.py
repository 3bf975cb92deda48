"""IPGuard (Cao et al., AsiaCCS 2021) as published: points that the victim gives a wanted other label, by a chosen lead.

Its loss is ReLU(Z_i - Z_j + k) + ReLU(max_t Z_t - Z_i) over logits Z, where i is the label an image has, j the one that
it shall get and t runs over the others: at 0 the point has label j, ahead of i by at least k, and i is the runner-up.
A point at which it is not 0 is no fingerprint, and counts for nothing.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from uapfp_dist.pass_size import in_passes, pass_size
from uapfp_dist.perturbations.frozen import frozen

K_GRID = (0.0, 1.0, 2.0, 5.0, 10.0)
"""Values of k that are tried; which one is used is chosen on the training models."""
RATE = 0.01
"""Adam's, in pixel values."""
DECAYS = 0.9, 0.999
"""Adam's."""
MAX_STEPS = 500
TARGETS = 2
"""Labels j, drawn at random, that a point tries one after the other until it reaches one."""


@dataclass(frozen=True)
class TargetedPoints:
    """Points made of B images."""

    images: Tensor
    """(B, c, h, w) in [0, 1]; where nothing was reached, the image as it was."""
    reached: Tensor
    """(B,) bool: whether the loss came to 0."""


def targeted_points(net: nn.Module, images: Tensor, k: float, rng: torch.Generator) -> TargetedPoints:
    """Move images into the region of a random other label, by Adam, each until its loss is 0.

    Args:
        net: the victim, in evaluation mode.
        images: (B, c, h, w) in [0, 1].
        k: by how much the wanted label's logit must lead, at least 0.
        rng: CPU generator for the wanted labels.
    """
    with torch.no_grad():
        logits = torch.cat([net(part) for part in in_passes(images)])
    own, n_classes = logits.argmax(1), logits.shape[1]
    shift = torch.rand(len(images), n_classes - 1, generator=rng).argsort(1)[:, :TARGETS] + 1
    found = images.clone()
    reached = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    for column in shift.to(images.device).unbind(1):
        left = (~reached).nonzero().flatten()
        for rows in left.split(pass_size(images)):
            moved, arrived = _descend(net, images[rows], own[rows], (own[rows] + column[rows]) % n_classes, k)
            found[rows[arrived]], reached[rows] = moved[arrived], arrived
    return TargetedPoints(found, reached)


def _descend(net: nn.Module, images: Tensor, own: Tensor, target: Tensor, k: float) -> tuple[Tensor, Tensor]:
    """Where each image first had a loss of 0, and whether it had. Those that are there cost nothing any more."""
    x, arrived = images.clone(), torch.zeros(len(images), dtype=torch.bool, device=images.device)
    mean, square = torch.zeros_like(x), torch.zeros_like(x)
    for step in range(1, MAX_STEPS + 1):
        rows = (~arrived).nonzero().flatten()
        part = x[rows].requires_grad_()
        with frozen(net):
            logits = net(part)
            loss = targeted_loss(logits, own[rows], target[rows], k)
            (gradient,) = torch.autograd.grad(loss.sum(), part)
        there = (loss == 0) & (logits.argmax(1) == target[rows])
        arrived[rows[there]] = True
        if bool(arrived.all()):
            break
        rows, gradient = rows[~there], gradient[~there]
        mean[rows] = DECAYS[0] * mean[rows] + (1 - DECAYS[0]) * gradient
        square[rows] = DECAYS[1] * square[rows] + (1 - DECAYS[1]) * gradient.square()
        length = (square[rows] / (1 - DECAYS[1] ** step)).sqrt() + 1e-8
        x[rows] = (x[rows] - RATE * mean[rows] / (1 - DECAYS[0] ** step) / length).clamp(0.0, 1.0)
    return x, arrived


def targeted_loss(logits: Tensor, own: Tensor, target: Tensor, k: float) -> Tensor:
    """(B,) losses of logits (B, C), whose labels shall turn from `own` to `target`."""
    at_own, at_target = (logits.gather(1, label[:, None])[:, 0] for label in (own, target))
    third = logits.scatter(1, torch.stack([own, target], dim=1), float("-inf")).max(1).values
    return (at_own - at_target + k).relu() + (third - at_own).relu()
