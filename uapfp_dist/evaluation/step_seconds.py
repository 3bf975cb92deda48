"""How long a net takes for an image of training, where it is measured before any model is made."""

import time
from dataclasses import replace
from statistics import median

import torch
from torch import Tensor

from uapfp_dist.execution.context import TaskContext
from uapfp_dist.models.training import PEAK_RATES, Trainer
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.specs import ModelSpec, Trained

BATCH = 128
"""Images of a step: the middle one of the batches that recipes draw."""
FIRST_BATCH = 8
"""Images of the first step of all, which shows whether a net is large."""
SLOW_SECONDS = 0.1
"""A step of so few images that takes as long is a large net's: one more of them is enough."""
MOST_SECONDS = 0.08
"""After which no further step is begun on a CPU."""
MOST_STEPS = 10
GPU_STEPS = 40
"""A GPU's take a moment each, and one that is recorded is recorded first."""
GPU_FIRST_STEPS = 10
"""Before those, and not counted."""


def seconds_per_image(spec: ModelSpec, context: TaskContext) -> float:
    """Of an image of training by the net and recipe of `spec`, in their precision, on random images.

    On a CPU it takes about a tenth of a second for a small net, three steps of 8 images for a large one.
    """
    whole = replace(spec, origin=Trained("victim_set"), gate=None)  # as it is trained, whatever is done to it later
    if context.device.type == "cuda":
        return _on_gpu(whole, context)
    few = _Steps(whole, context, FIRST_BATCH)
    few.take()  # the first of all also loads what later ones have
    if (seconds := few.take()) > SLOW_SECONDS:
        return min(seconds, few.take()) / FIRST_BATCH
    steps = _Steps(whole, context, BATCH)
    steps.take()
    times: list[float] = []
    while not times or (sum(times) < MOST_SECONDS and len(times) < MOST_STEPS):
        times.append(steps.take())
    return median(times) / BATCH


def _on_gpu(spec: ModelSpec, context: TaskContext) -> float:
    steps = _Steps(spec, context, BATCH)
    steps.take(GPU_FIRST_STEPS)
    return steps.take(GPU_STEPS) / GPU_STEPS / BATCH


class _Steps:
    """Steps of a training on random images of the shape of a data set."""

    def __init__(self, spec: ModelSpec, context: TaskContext, batch: int) -> None:
        dataset, _ = context.data(spec.data)
        self._device = context.device
        self._images: Tensor = torch.rand(batch, *dataset.shape, generator=torch_rng("cost")).to(context.device)
        self._labels = torch.arange(batch, device=context.device) % dataset.n_classes
        self._most = 2 + max(MOST_STEPS, GPU_STEPS + GPU_FIRST_STEPS)
        known = spec.recipe.optimizer if spec.recipe.optimizer in PEAK_RATES else "sgd"  # an owner trained it
        recipe = replace(spec.recipe, optimizer=known, batch_size=batch, samples_seen=batch * self._most)
        self._trainer = Trainer(context.empty(spec), recipe, torch_rng("cost order"))

    def take(self, n: int = 1) -> float:
        """Take `n` steps; returns the seconds of all."""
        started = time.perf_counter()
        self._trainer.run(self._images, self._labels, (self._trainer.step + n) / self._most)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter() - started
