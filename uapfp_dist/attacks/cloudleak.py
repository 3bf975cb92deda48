"""CloudLeak-style queries (Yu et al., NDSS 2020): adversarial examples on the substitute, least-confident first.

Natural images are pushed across the substitute's nearest boundary (margin variant), or towards another image in the
space of its features (FeatureFool); those about which it is then least sure are sent to the victim.
"""

import torch
from torch import Tensor

from uapfp_dist.models.net import Net

CANDIDATES = 2
"""Images crafted per image sent."""
STEPS = 5
STEP_SHARE = 0.05
"""Length of a step, as a share of the image's l2 norm."""
GUIDES = 500
"""Natural images drawn per round, from which FeatureFool's targets are taken."""
PENALTY = 4.0
"""FeatureFool's weight of the pixel distance (relative to the image) against the feature distance (to the start)."""


def margin_queries(substitute: Net, pool: Tensor, asked: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """The `n` least confident of 2 n margin adversarial examples of natural images, least confident first.

    Arguments and result as for `CraftQueries`; an image of the pool is used again when 2 n exceeds it.
    """
    start = _draw(pool, CANDIDATES * n, rng)
    crafted = torch.cat([_cross_boundary(substitute, part) for part in start.split(500)])
    return _least_confident(substitute, crafted, n)


def feature_queries(substitute: Net, pool: Tensor, asked: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """The `n` least confident of 2 n FeatureFool examples of natural images, least confident first.

    Each is moved so that its penultimate features approach those of a natural image to which the substitute gives
    another label (any image, while it gives all of them the same). Arguments and result as for `CraftQueries`.
    """
    start = _draw(pool, CANDIDATES * n, rng)
    guides = _draw(pool, min(GUIDES, len(pool)), rng)
    chosen = _of_another_class(_labels(substitute, start), _labels(substitute, guides), rng).to(pool.device)
    parts = zip(start.split(500), chosen.split(500), strict=True)
    crafted = torch.cat([_approach(substitute, part, guides[guide]) for part, guide in parts])
    return _least_confident(substitute, crafted, n)


def _draw(pool: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """`n` images of the pool, each used again only when all others were."""
    draws = [torch.randperm(len(pool), generator=rng) for _ in range(-(-n // len(pool)))]
    return pool[torch.cat(draws)[:n].to(pool.device)]


@torch.no_grad()
def _labels(net: Net, images: Tensor) -> Tensor:
    return torch.cat([net(part).argmax(1).cpu() for part in images.split(500)])


@torch.no_grad()
def _least_confident(net: Net, images: Tensor, n: int) -> Tensor:
    parts = [net(part).softmax(1).max(1).values for part in images.split(500)]
    return images[torch.cat(parts).argsort(stable=True)[:n]]


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
        inside = (margin > 0).float().view(-1, 1, 1, 1)
        x = (x.detach() - step * inside * _direction(gradient)).clamp(0.0, 1.0)
    return x.detach()


def _approach(substitute: Net, images: Tensor, guides: Tensor, penalty: float = PENALTY) -> Tensor:
    """Normalised gradient steps down |f(x) - f(guide)|^2 / |f(image) - f(guide)|^2 + penalty |x - image|^2 / |image|^2.

    f: penultimate features; images and guides (B, c, h, w).
    """
    with torch.no_grad():
        goal = substitute.features(guides)
        apart = (substitute.features(images) - goal).square().sum(1).clamp_min(1e-12)
    energy = images.flatten(1).square().sum(1).clamp_min(1e-12)
    step = STEP_SHARE * energy.sqrt().view(-1, 1, 1, 1)
    x = images.detach()
    for _ in range(STEPS):
        x = x.requires_grad_()
        in_features = (substitute.features(x) - goal).square().sum(1) / apart
        in_pixels = (x - images).flatten(1).square().sum(1) / energy
        (gradient,) = torch.autograd.grad((in_features + penalty * in_pixels).sum(), x)
        x = (x.detach() - step * _direction(gradient)).clamp(0.0, 1.0)
    return x.detach()


def _direction(gradient: Tensor) -> Tensor:
    return gradient / gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)


def _of_another_class(labels: Tensor, guide_labels: Tensor, rng: torch.Generator) -> Tensor:
    """For each of `labels` (B,) an index, uniform at random, of a guide with another label; of any if there is none."""
    chosen = torch.empty(len(labels), dtype=torch.long)
    for label in labels.unique():
        others = (guide_labels != label).nonzero()[:, 0]
        if len(others) == 0:
            others = torch.arange(len(guide_labels))
        mine = labels == label
        chosen[mine] = others[torch.randint(len(others), (int(mine.sum()),), generator=rng)]
    return chosen
