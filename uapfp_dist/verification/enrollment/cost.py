"""What an enrolment will cost, estimated before it starts."""

import math
import time
from dataclasses import dataclass, replace

import torch

from uapfp_dist.execution.context import TaskContext
from uapfp_dist.models.training import Trainer
from uapfp_dist.rng import torch_rng
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.specs import Extracted, Imported, ModelSpec
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan

MEASURED_STEPS = 3
BATCH = 64
EXTRACTION_FACTOR = 1.5
"""A stolen model also crafts its queries: measured about half as long again as training."""
REST_FACTOR = 1.2
"""Training, and the responses, UAPs and encoders beside it."""


@dataclass(frozen=True)
class EnrollmentCost:
    """Cost of what is not in the store yet."""

    models: int
    """To make."""
    stored: int
    """Made already."""
    seconds: float
    """Of one worker like this machine, without a GPU."""
    measured_on: str
    """Where the seconds come from."""

    def summary(self, workers: int) -> str:
        """One line."""
        minutes = math.ceil(self.seconds / max(workers, 1) / 60)
        return (
            f"to make: {self.models} models ({self.stored} are there), about {minutes} min on {workers} worker"
            f"{'s' * (workers != 1)}, by {self.measured_on}"
        )


def estimate_cost(plan: EnrollmentPlan, context: TaskContext) -> EnrollmentCost:
    """By the cards of models of the same architecture that are made already, else by a few steps of training here."""
    stored = [spec for spec in plan.models if context.store.has("model", spec.id)]
    todo = [spec for spec in plan.models if not context.store.has("model", spec.id)]
    known = _by_cards(stored, context.store)
    guessed = {spec.architecture for spec in todo} - known.keys()
    measured = {spec.architecture: _seconds_per_image(spec, context) for spec in todo if spec.architecture in guessed}
    total = sum(_work(spec) * (known | measured)[spec.architecture] for spec in todo)
    source = "a few steps of training on this CPU" if guessed else "the models made before"
    return EnrollmentCost(len(todo), len(stored), total * REST_FACTOR, source)


def _work(spec: ModelSpec) -> float:
    """Images seen, those of an extraction weighted."""
    return spec.recipe.samples_seen * (EXTRACTION_FACTOR if isinstance(spec.origin, Extracted) else 1.0)


def _by_cards(stored: list[ModelSpec], store: Store) -> dict[str, float]:
    """Architecture to seconds per image seen."""
    seconds: dict[str, list[float]] = {}
    for spec in stored:
        if not isinstance(spec.origin, Imported):
            card = store.get("model", spec.id).info
            seconds.setdefault(spec.architecture, []).append(card["seconds"] / _work(spec))
    return {architecture: sum(found) / len(found) for architecture, found in seconds.items()}


def _seconds_per_image(spec: ModelSpec, context: TaskContext) -> float:
    """A few steps on random images; the first is not counted."""
    dataset, _ = context.data(spec.data)
    rng = torch_rng("cost")
    images = torch.rand(BATCH, *dataset.shape, generator=rng).to(context.device)
    labels = torch.arange(BATCH, device=context.device) % dataset.n_classes
    recipe = replace(spec.recipe, batch_size=BATCH, samples_seen=BATCH * (MEASURED_STEPS + 1))
    times: list[float] = []
    Trainer(context.empty(spec), recipe, rng).run(
        images, labels, after_step=lambda _: times.append(time.perf_counter())
    )
    return (times[-1] - times[0]) / MEASURED_STEPS / BATCH
