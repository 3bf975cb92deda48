"""Part `deepfool` of the benchmark: DeepFool over all classes against the backward passes that it cannot do without.

The floor is a backward pass for each step and rival over the images that are not fooled yet, plainly one after the
other, their graphs given. Both alternate; the ratio is that of the least seconds of each.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uapfp_dist.benchmarks.clock import Stopwatch
from uapfp_dist.benchmarks.victims import TrainedVictim
from uapfp_dist.perturbations.deepfool import MAX_STEPS, deepfool
from uapfp_dist.perturbations.frozen import frozen
from uapfp_dist.perturbations.uap import predict

IMAGES = 128
REPEATS = 15
ALL_CLASSES = 10**6
"""More candidates than any net has classes."""


@dataclass(frozen=True)
class FloorRatio:
    """DeepFool beside its floor."""

    seconds: float
    """CPU seconds of DeepFool."""
    backward_seconds: float
    """Of the backward passes."""
    forward_seconds: float
    """Of the forward passes that their graphs come from, one for each step."""
    backward_passes: int
    """Images times rivals, summed over steps."""
    ratio: float
    """DeepFool to the backward passes alone."""
    ratio_with_forward: float
    """DeepFool to the backward passes and those forward passes."""


def positions(net: nn.Module, images: Tensor, labels: Tensor) -> list[tuple[Tensor, Tensor]]:
    """For each step the indices of the images that are not fooled before it, and where those are."""
    found: list[tuple[Tensor, Tensor]] = []
    for steps in range(MAX_STEPS):
        so_far = deepfool(net, images, labels, max_steps=steps, n_candidates=ALL_CLASSES)
        left = (~so_far.fooled).nonzero()[:, 0]
        if not len(left):
            break
        found.append((left, images[left] + so_far.delta[left]))
    return found


def floor(net: nn.Module, steps: list[tuple[Tensor, Tensor]], leads: Tensor) -> tuple[float, float]:
    """CPU seconds of the backward passes, and of their forward passes; `leads` (K, B, C)."""
    forward, backward = Stopwatch(), Stopwatch()
    for left, where in steps:
        x, own = where.clone().requires_grad_(), leads[:, left]
        with forward:
            logits = net(x)
        with backward:
            for k, lead in enumerate(own):
                torch.autograd.grad(logits, x, lead, retain_graph=k + 1 < len(own))
    return backward.seconds, forward.seconds


def floor_ratio(trained: TrainedVictim, say: Callable[[str], object]) -> FloorRatio:
    """On held-out images of a trained victim; `say` takes the line of the result, here as in every part."""
    net, images = trained.net, trained.held_out[:IMAGES]
    labels = predict(net, images)
    with torch.no_grad():
        logits = net(images)
    rivals = logits.scatter(1, labels[:, None], float("-inf")).topk(logits.shape[1] - 1).indices
    leads = (F.one_hot(rivals.T, logits.shape[1]) - F.one_hot(labels, logits.shape[1])).to(images.dtype)
    steps = positions(net, images, labels)
    ours, backward, forward = [], [], []
    for _ in range(REPEATS):
        with Stopwatch() as watch:
            deepfool(net, images, labels, n_candidates=ALL_CLASSES)
        with frozen(net):
            seconds = floor(net, steps, leads)
        ours.append(watch.seconds)
        backward.append(seconds[0])
        forward.append(seconds[1])
    least = min(backward)
    found = FloorRatio(
        seconds=min(ours),
        backward_seconds=least,
        forward_seconds=min(forward),
        backward_passes=sum(len(left) for left, _ in steps) * len(leads),
        ratio=min(ours) / least,
        ratio_with_forward=min(ours) / (least + min(forward)),
    )
    say(
        f"deepfool, {trained.name}, {len(images)} images, {logits.shape[1]} classes: {1e3 * found.seconds:.1f} ms; "
        f"its {found.backward_passes} backward passes {1e3 * least:.1f} ms: ratio {found.ratio:.2f}; "
        f"with the {len(steps)} forward passes that they start from {found.ratio_with_forward:.2f}"
    )
    return found
