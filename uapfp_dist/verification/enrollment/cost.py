"""What an enrolment will cost, estimated before it starts."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from uapfp_dist.execution.context import TaskContext
from uapfp_dist.models.training import Trainer
from uapfp_dist.rng import torch_rng
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.run_specs import Continued, TrainingCheckpointSpec
from uapfp_dist.tasks.specs import Extracted, Imported, ModelSpec, OwnerTrained
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan

MEASURED_STEPS = {"cpu": 3, "cuda": 40}
"""Kind of device to steps: a GPU's take a moment each, and one that is recorded is recorded first."""
FIRST_STEPS = {"cpu": 1, "cuda": 10}
"""Before those, and not counted."""
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
    """Of one worker; those on its share of a GPU, where there are any, but for those in `alone`."""
    measured_on: str
    """Where the seconds come from."""
    by_architecture: Mapping[str, float] = field(default_factory=dict)
    """The same for each; their sum is `seconds`."""
    alone: Mapping[str, float] = field(default_factory=dict)
    """Of `by_architecture`, those measured on a GPU that nobody shared."""
    siblings: int = 0
    """Of the models to make, those of the victim's recipe."""
    untimed: int = 0
    """Of those, siblings by a function of the owner's whose time is not known yet: they are not in the seconds."""

    def summary(self, workers: int, at_once: Callable[[str], int] | None = None, gpus: int = 1) -> str:
        """One line.

        Args:
            workers: without GPUs.
            at_once: architecture to the workers that GPUs have room for; None: there are none.
            gpus: those. Seconds measured alone on one are divided by them: nobody knows how much sharing shortens.
        """
        minutes = math.ceil(self.seconds / max(workers, 1) / 60)
        if at_once is not None:
            shared = {name: max(1, at_once(name)) for name in self.by_architecture}
            alone = {name: self.alone.get(name, 0.0) for name in shared}
            seconds = sum(
                (self.by_architecture[name] - alone[name]) / n + alone[name] / max(1, min(gpus, n))
                for name, n in shared.items()
            )
            minutes = math.ceil(seconds / 60)
            workers = max(shared.values(), default=workers)
        siblings = f", {self.siblings} of them siblings of the victim" if self.siblings else ""
        untimed = "; the time that train takes for siblings is not known before the first is made" * (self.untimed > 0)
        return (
            f"to make: {self.models} models{siblings} ({self.stored} are there), about {minutes} min on {workers} "
            f"worker{'s' * (workers != 1)}{' on GPUs' * (at_once is not None)}, by {self.measured_on}{untimed}"
        )


def estimate_cost(plan: EnrollmentPlan, context: TaskContext, *, on_gpus: bool = False) -> EnrollmentCost:
    """Of the models of a kit; see `cost_of_models`."""
    return cost_of_models(plan.models, plan.siblings, context, on_gpus=on_gpus)


def cost_of_models(
    models: Sequence[ModelSpec], siblings: Sequence[ModelSpec], context: TaskContext, *, on_gpus: bool = False
) -> EnrollmentCost:
    """By the cards of models of the same architecture that are made already, else by a few steps of training here.

    Args:
        models: all that are wanted.
        siblings: those of the victim's recipe among them.
        context: where they are stored, and trained for a few steps.
        on_gpus: whether they will be made there; cards of models that were made elsewhere do not count.
    """
    stored = [spec for spec in models if context.store.has("model", spec.id)]
    todo = [spec for spec in models if not context.store.has("model", spec.id)]
    ours = [spec for spec in todo if not isinstance(spec.origin, OwnerTrained)]
    n_owners = len(todo) - len(ours)
    known = _by_cards(stored, context.store, "cuda" if on_gpus else "cpu")
    guessed = {spec.architecture for spec in ours} - known.keys()
    measured = {spec.architecture: _seconds_per_image(spec, context) for spec in ours if spec.architecture in guessed}
    own = _owners_seconds(stored, context.store) if n_owners else None
    seconds: dict[str, float] = {}
    alone: dict[str, float] = {}
    for spec in todo:
        by_us = not isinstance(spec.origin, OwnerTrained)
        of_one = REST_FACTOR * (_work(spec) * (known | measured)[spec.architecture] if by_us else own or 0.0)
        seconds[spec.architecture] = seconds.get(spec.architecture, 0.0) + of_one
        if context.device.type == "cuda" and by_us and spec.architecture in guessed:
            alone[spec.architecture] = alone.get(spec.architecture, 0.0) + of_one
    here = "GPU, alone on it" if context.device.type == "cuda" else "CPU" + ", which GPUs shorten" * on_gpus
    return EnrollmentCost(
        models=len(todo),
        stored=len(stored),
        seconds=sum(seconds.values()),
        by_architecture=seconds,
        alone=alone,
        measured_on=f"a few steps of training on this {here}" if guessed else "the models made before",
        siblings=len([spec for spec in siblings if spec in todo]),
        untimed=n_owners if own is None else 0,
    )


def _work(spec: ModelSpec) -> float:
    """Images seen, those of an extraction weighted, those before a checkpoint left out."""
    origin = spec.origin
    if isinstance(origin, Continued) and isinstance(origin.start, TrainingCheckpointSpec):
        return spec.recipe.samples_seen * (1.0 - origin.start.share)
    return spec.recipe.samples_seen * (EXTRACTION_FACTOR if isinstance(origin, Extracted) else 1.0)


def _by_cards(stored: list[ModelSpec], store: Store, kind: str) -> dict[str, float]:
    """Architecture to seconds per image seen, of models that were made on that kind of device."""
    seconds: dict[str, list[float]] = {}
    for spec in stored:
        if not isinstance(spec.origin, Imported | OwnerTrained):
            card = store.get("model", spec.id).info
            if card["device"].startswith(kind):
                seconds.setdefault(spec.architecture, []).append(card["seconds"] / _work(spec))
    return {architecture: sum(found) / len(found) for architecture, found in seconds.items()}


def _owners_seconds(stored: list[ModelSpec], store: Store) -> float | None:
    """Of a sibling by the owner's function; None before the first is made: the function is not run to find out."""
    found = [store.get("model", spec.id).info["seconds"] for spec in stored if isinstance(spec.origin, OwnerTrained)]
    return sum(found) / len(found) if found else None


def _seconds_per_image(spec: ModelSpec, context: TaskContext) -> float:
    """A few steps on random images, after others that are not counted."""
    device, (dataset, _) = context.device, context.data(spec.data)
    n, before = MEASURED_STEPS[device.type], FIRST_STEPS[device.type]
    images = torch.rand(BATCH, *dataset.shape, generator=torch_rng("cost")).to(device)
    labels = torch.arange(BATCH, device=device) % dataset.n_classes
    recipe = replace(spec.recipe, batch_size=BATCH, samples_seen=BATCH * (n + before))
    trainer = Trainer(context.empty(spec), recipe, torch_rng("cost order"))
    times = []
    for until in (before, n + before):
        trainer.run(images, labels, until / (n + before))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter())
    return (times[1] - times[0]) / n / BATCH
