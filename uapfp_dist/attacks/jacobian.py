"""Jacobian-based augmentation (Papernot et al., 2017)."""

import torch
from torch import Tensor

from uapfp_dist.models.net import Net

STEP = 0.1
"""Signed step in pixel units (the original's lambda)."""


def jacobian_queries(substitute: Net, pool: Tensor, asked: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """x + step * sign(d logit_y / d x), y the substitute's label: explores where its decision changes.

    It starts from what was asked before, synthetic images included, so that round by round it gets further away from
    the natural images. Arguments and result as for `CraftQueries`.
    """
    draws = [torch.randperm(len(asked), generator=rng) for _ in range(-(-n // len(asked)))]
    chosen = torch.cat(draws)[:n].to(asked.device)
    return torch.cat([_augment(substitute, part) for part in asked[chosen].split(500)])


def _augment(substitute: Net, images: Tensor) -> Tensor:
    images = images.detach().requires_grad_()
    logits = substitute(images)
    (gradient,) = torch.autograd.grad(logits.max(1).values.sum(), images)
    # Ascending the label's own logit moves inwards, descending it outwards: half of the images each.
    sign = torch.ones(len(images), 1, 1, 1, device=images.device)
    sign[::2] = -1.0
    return (images.detach() + STEP * sign * gradient.sign()).clamp(0.0, 1.0)
