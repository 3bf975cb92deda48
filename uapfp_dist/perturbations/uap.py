"""Universal adversarial perturbations in an l2 ball (paper Eq. 3; Moosavi-Dezfooli et al., CVPR 2017)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from uapfp_dist.errors import unknown_name
from uapfp_dist.pass_size import cache_room, in_passes
from uapfp_dist.perturbations.deepfool import deepfool
from uapfp_dist.perturbations.frozen import frozen

SGD_BATCH = 100
MOMENTUM = 0.9
RATE = 0.1
"""Length of the first step, in radii of the ball; it decays linearly to almost 0."""
REACH = 1.5
"""Least distance that all steps together can cover, in radii: makes steps longer when they are few."""
DEEPFOOL_BATCH = 32
DEEPFOOL_STEPS = 10


@dataclass(frozen=True)
class Uap:
    """A universal perturbation and its fooling rates."""

    v: Tensor
    """(1, c, h, w), l2 norm at most xi."""
    xi: float
    fooling_rate: float
    """Share of held-out images whose label changes, without clipping."""
    fooling_rate_clipped: float
    """The same when x + v is clipped to [0, 1], as a suspect would see it."""


def project(v: Tensor, xi: float) -> Tensor:
    """`v` (K, c, h, w), each projected onto the l2 ball of radius `xi`."""
    norm = v.flatten(1).norm(dim=1).double().clamp_min(1e-12)
    return v * (xi / norm).clamp_max(1.0).to(v.dtype).view(-1, 1, 1, 1)


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """The model's labels (B,) for `images` (B, c, h, w), on their device."""
    return torch.cat([model(batch).argmax(1) for batch in in_passes(images)])


@torch.no_grad()
def fooling_rate(model: nn.Module, images: Tensor, v: Tensor, clip: bool) -> float:
    """Share of `images` (B, c, h, w) whose predicted label changes under `v`."""
    changed = 0
    for batch in in_passes(images):
        moved = (batch + v).clamp(0.0, 1.0) if clip else batch + v
        changed += int((model(moved).argmax(1) != model(batch).argmax(1)).sum())
    return changed / len(images)


def uap_sgd(
    model: nn.Module,
    images: Tensor,
    xi: float,
    passes: int,
    rng: torch.Generator,
    start: Tensor | None = None,
    *,
    batch_size: int = SGD_BATCH,
) -> Tensor:
    """Projected gradient over the set: each step lowers the mean clipped margin of a batch under `v`.

    Args:
        model: (B, c, h, w) to logits, in evaluation mode.
        images: (N, c, h, w) to fool.
        xi: radius of the ball.
        passes: passes over `images`.
        rng: CPU generator for the order.
        start: (1, c, h, w) to start from, zero by default.
        batch_size: images per step.

    Returns:
        (1, c, h, w).
    """
    orders = torch.stack([torch.randperm(len(images), generator=rng) for _ in range(passes)])[None]
    start = torch.zeros_like(images[:1]) if start is None else start
    return descend(model, images, predict(model, images), start, orders, xi, batch_size)


def descend(
    model: nn.Module, images: Tensor, labels: Tensor, starts: Tensor, orders: Tensor, xi: float, batch_size: int
) -> Tensor:
    """K descents of `uap_sgd` at once: in each step the images of as many of them go through the net as a pass takes.

    Args:
        model: as for `uap_sgd`.
        images: (N, c, h, w).
        labels: (N,) predicted by the model.
        starts: (K, c, h, w).
        orders: (K, passes, n) int64 into `images`: those of each descent, in the order of each pass.
        xi: radius of the ball.
        batch_size: images per descent and step.

    Returns:
        (K, c, h, w).
    """
    batches = [batch for order in orders.to(images.device).unbind(1) for batch in order.split(batch_size, dim=1)]
    first = xi * max(RATE, REACH / max(1, len(batches)))
    v = project(starts, xi)
    velocity = torch.zeros_like(v)
    room = cache_room(images)
    together = len(v) if room is None else max(1, room // batch_size)
    for step, index in enumerate(batches):
        parts = zip(v.split(together), index.split(together), strict=True)
        gradient = torch.cat([_ascent(model, images, labels, part, rows) for part, rows in parts])
        norm = gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
        velocity = MOMENTUM * velocity + gradient / norm
        rate = first * (1.0 - step / len(batches))
        v = project(v - rate * velocity, xi)
    return v


def _ascent(model: nn.Module, images: Tensor, labels: Tensor, v: Tensor, index: Tensor) -> Tensor:
    """(k, c, h, w): the gradient of the mean margin of images `index` (k, n) under each of `v`."""
    v = v.detach().requires_grad_()
    with frozen(model):
        margin = _margin(model((images[index] + v[:, None]).flatten(0, 1)), labels[index].flatten())
        (gradient,) = torch.autograd.grad(margin.view(index.shape).mean(1).sum(), v)
    return gradient


def _margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The lead of the label over its best rival, at least -1: a clearly fooled image has no gradient."""
    own = logits.gather(1, labels[:, None])[:, 0]
    rival = logits.scatter(1, labels[:, None], float("-inf")).max(1).values
    return (own - rival).clamp_min(-1.0)


def uap_deepfool(
    model: nn.Module,
    images: Tensor,
    xi: float,
    passes: int,
    rng: torch.Generator,
    start: Tensor | None = None,
    *,
    batch_size: int = DEEPFOOL_BATCH,
) -> Tensor:
    """The loop of Moosavi-Dezfooli et al., batched: DeepFool from x + v on the images not yet fooled, then projection.

    With `batch_size` 1 this is the original, step for step. Arguments as for `uap_sgd`.
    """
    labels = predict(model, images)
    v = torch.zeros_like(images[:1]) if start is None else project(start, xi)
    for _ in range(passes):
        for index in torch.randperm(len(images), generator=rng).split(batch_size):
            index = index.to(images.device)
            found = deepfool(model, images[index] + v, labels[index], max_steps=DEEPFOOL_STEPS)
            v = project(v + found.delta.sum(0, keepdim=True), xi)
    return v


ALGORITHMS: dict[str, Callable[..., Tensor]] = {"sgd": uap_sgd, "deepfool": uap_deepfool}


def search_xi(
    model: nn.Module,
    images: Tensor,
    held_out: Tensor,
    grid: list[float],
    target: float,
    algorithm: str,
    passes: int,
    rng: torch.Generator,
) -> Uap:
    """The UAP of the smallest radius in `grid` that fools `target` of the held-out images, else that of the largest."""
    uap: Uap | None = None
    for xi in sorted(grid):
        start = None if uap is None else uap.v * (xi / uap.xi)
        uap = make_uap(model, images, held_out, xi, algorithm, passes, rng, start)
        if uap.fooling_rate >= target:
            break
    assert uap is not None
    return uap


def make_uap(
    model: nn.Module,
    images: Tensor,
    held_out: Tensor,
    xi: float,
    algorithm: str,
    passes: int,
    rng: torch.Generator,
    start: Tensor | None = None,
) -> Uap:
    """One UAP of radius `xi`, measured on `held_out` (B, c, h, w)."""
    if algorithm not in ALGORITHMS:
        raise unknown_name("UAP algorithm", algorithm, ALGORITHMS)
    v = ALGORITHMS[algorithm](model, images, xi, passes, rng, start)
    return Uap(v, xi, fooling_rate(model, held_out, v, False), fooling_rate(model, held_out, v, True))
