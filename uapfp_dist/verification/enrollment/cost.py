"""What an enrolment will cost, estimated before it starts."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from uapfp_dist.execution.context import TaskContext
from uapfp_dist.models.training import Trainer
from uapfp_dist.rng import torch_rng
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.run_specs import Continued, TrainingCheckpointSpec
from uapfp_dist.tasks.specs import Extracted, Imported, ModelSpec, OwnerTrained
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
    siblings: int = 0
    """Of the models to make, those of the victim's recipe."""
    untimed: int = 0
    """Of those, siblings by a function of the owner's whose time is not known yet: they are not in the seconds."""

    def summary(self, workers: int) -> str:
        """One line."""
        minutes = math.ceil(self.seconds / max(workers, 1) / 60)
        siblings = f", {self.siblings} of them siblings of the victim" if self.siblings else ""
        untimed = "; the time that train takes for siblings is not known before the first is made" * (self.untimed > 0)
        return (
            f"to make: {self.models} models{siblings} ({self.stored} are there), about {minutes} min on {workers} "
            f"worker{'s' * (workers != 1)}, by {self.measured_on}{untimed}"
        )


def estimate_cost(plan: EnrollmentPlan, context: TaskContext) -> EnrollmentCost:
    """Of the models of a kit; see `cost_of_models`."""
    return cost_of_models(plan.models, plan.siblings, context)


def cost_of_models(models: Sequence[ModelSpec], siblings: Sequence[ModelSpec], context: TaskContext) -> EnrollmentCost:
    """By the cards of models of the same architecture that are made already, else by a few steps of training here.

    Args:
        models: all that are wanted.
        siblings: those of the victim's recipe among them.
        context: where they are stored, and trained for a few steps.
    """
    stored = [spec for spec in models if context.store.has("model", spec.id)]
    todo = [spec for spec in models if not context.store.has("model", spec.id)]
    ours = [spec for spec in todo if not isinstance(spec.origin, OwnerTrained)]
    n_owners = len(todo) - len(ours)
    known = _by_cards(stored, context.store)
    guessed = {spec.architecture for spec in ours} - known.keys()
    measured = {spec.architecture: _seconds_per_image(spec, context) for spec in ours if spec.architecture in guessed}
    total = sum(_work(spec) * (known | measured)[spec.architecture] for spec in ours)
    own = _owners_seconds(stored, context.store) if n_owners else None
    return EnrollmentCost(
        models=len(todo),
        stored=len(stored),
        seconds=(total + n_owners * (own or 0.0)) * REST_FACTOR,
        measured_on="a few steps of training on this CPU" if guessed else "the models made before",
        siblings=len([spec for spec in siblings if spec in todo]),
        untimed=n_owners if own is None else 0,
    )


def _work(spec: ModelSpec) -> float:
    """Images seen, those of an extraction weighted, those before a checkpoint left out."""
    origin = spec.origin
    if isinstance(origin, Continued) and isinstance(origin.start, TrainingCheckpointSpec):
        return spec.recipe.samples_seen * (1.0 - origin.start.share)
    return spec.recipe.samples_seen * (EXTRACTION_FACTOR if isinstance(origin, Extracted) else 1.0)


def _by_cards(stored: list[ModelSpec], store: Store) -> dict[str, float]:
    """Architecture to seconds per image seen."""
    seconds: dict[str, list[float]] = {}
    for spec in stored:
        if not isinstance(spec.origin, Imported | OwnerTrained):
            card = store.get("model", spec.id).info
            seconds.setdefault(spec.architecture, []).append(card["seconds"] / _work(spec))
    return {architecture: sum(found) / len(found) for architecture, found in seconds.items()}


def _owners_seconds(stored: list[ModelSpec], store: Store) -> float | None:
    """Of a sibling by the owner's function; None before the first is made: the function is not run to find out."""
    found = [store.get("model", spec.id).info["seconds"] for spec in stored if isinstance(spec.origin, OwnerTrained)]
    return sum(found) / len(found) if found else None


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
