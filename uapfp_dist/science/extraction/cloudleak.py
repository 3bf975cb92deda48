"""CloudLeak-style queries (Yu et al., NDSS 2020): adversarial examples on the substitute, least-confident first.

Margin variant: natural images are pushed across the substitute's nearest boundary, and those about which it is least
sure are sent to the victim.
"""

import torch
from torch import Tensor

from uapfp_dist.science.zoo.net import Net

CANDIDATES = 2
"""Images crafted per image sent."""
STEPS = 5
STEP_SHARE = 0.05
"""Length of a step, as a share of the image's l2 norm."""


def margin_queries(substitute: Net, pool: Tensor, asked: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """The `n` least confident of 2 n margin adversarial examples of natural images, least confident first.

    Arguments and result as for `CraftQueries`; an image of the pool is used again when 2 n exceeds it.
    """
    wanted = CANDIDATES * n
    draws = [torch.randperm(len(pool), generator=rng) for _ in range(-(-wanted // len(pool)))]
    start = pool[torch.cat(draws)[:wanted].to(pool.device)]
    crafted = torch.cat([_cross_boundary(substitute, part) for part in start.split(500)])
    with torch.no_grad():
        parts = [substitute(part).softmax(1).max(1).values for part in crafted.split(500)]
    return crafted[torch.cat(parts).argsort(stable=True)[:n]]


def _cross_boundary(substitute: Net, images: Tensor) -> Tensor:
    """Normalised gradient steps that shrink the margin between the first label and the runner-up, then stay there."""
    step = STEP_SHARE * images.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    with torch.no_grad():
        label = substitute(images).argmax(1, keepdim=True)
    x = images.detach()
    for _ in range(STEPS):
        x = x.requires_grad_()
        logits = substitute(x)
        rival = logits.scatter(1, label, float("-inf")).max(1).values
        margin = logits.gather(1, label)[:, 0] - rival
        (gradient,) = torch.autograd.grad(margin.sum(), x)
        direction = gradient / gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
        inside = (margin > 0).float().view(-1, 1, 1, 1)
        x = (x.detach() - step * inside * direction).clamp(0.0, 1.0)
    return x.detach()
