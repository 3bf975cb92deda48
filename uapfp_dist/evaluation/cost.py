"""What a run will cost, estimated before it starts: how long the tasks take whose artifacts are not stored yet."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from uapfp_dist.config.schema import Config
from uapfp_dist.evaluation.other_code import by_other_code
from uapfp_dist.evaluation.step_seconds import seconds_per_image
from uapfp_dist.evaluation.task_work import DataSizes, net_of, task_work
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.stored import published_ids
from uapfp_dist.serialization import from_json
from uapfp_dist.storage.code_version import code_version
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.model_card import ModelCard
from uapfp_dist.tasks.run_specs import Continued
from uapfp_dist.tasks.specs import Extracted, ModelSpec, OwnerTrained, Trained

TASK_SECONDS = 0.01
"""Of a task beside its work: reading, writing, handing over."""
JUDGING_SECONDS = 1.6e-4
"""Of judging, on two cores, for each point of a training model's fingerprints, by each method in each format."""
HOURS_FROM = 180
"""Minutes."""


@dataclass(frozen=True)
class RunCost:
    """Cost of what is not in the store yet."""

    models: int
    """To make, modified ones and extractions stopped at a recovery rate counted."""
    stored: int
    """Models made already."""
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
    others: int = 0
    """Tasks that make no model: probes, responses, extractions that are watched."""
    judging: float = 0.0
    """Seconds after all of it, in one process."""
    other_code: tuple[str, ...] = ()
    """What to say of stored models that another version of the code made: a line, or none."""

    def wall_seconds(self, workers: int, at_once: Callable[[str], int] | None = None, gpus: int = 1) -> float:
        """From the first task to the end.

        Args:
            workers: without GPUs.
            at_once: architecture to the workers that GPUs have room for; None: there are none.
            gpus: those. Seconds measured alone on one are divided by them: nobody knows how much sharing shortens.
        """
        if at_once is None:
            return self.seconds / max(workers, 1) + self.judging
        seconds = self.judging
        for name, of_all in self.by_architecture.items():
            n, alone = max(1, at_once(name)), self.alone.get(name, 0.0)
            seconds += (of_all - alone) / n + alone / max(1, min(gpus, n))
        return seconds

    def summary(self, workers: int, at_once: Callable[[str], int] | None = None, gpus: int = 1) -> str:
        """One line; arguments as of `wall_seconds`."""
        duration = in_words(self.wall_seconds(workers, at_once, gpus))
        if at_once is not None:
            workers = max((max(1, at_once(name)) for name in self.by_architecture), default=workers)
        on = f"{workers} worker{'s' * (workers != 1)}{' on GPUs' * (at_once is not None)}"
        untimed = "; the time that train takes for siblings is not known before the first is made" * (self.untimed > 0)
        return f"{self.to_make()}, about {duration} on {on}, by {self.measured_on}{untimed}"

    def to_make(self) -> str:
        """How much."""
        siblings = f", {self.siblings} of them siblings of the victim" if self.siblings else ""
        others = f", {self.others} other task{'s' * (self.others > 1)}" if self.others else ""
        return f"to make: {self.models} models{siblings} ({self.stored} already stored){others}"


def in_words(seconds: float) -> str:
    """`12 min`, and from three hours on `3.5 h`."""
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < HOURS_FROM else f"{seconds / 3600:.1f} h"


def cost_of(
    specs: Sequence[Spec],
    siblings: Iterable[ModelSpec],
    context: TaskContext,
    *,
    on_gpus: bool = False,
    judging: float = 0.0,
) -> RunCost:
    """By the cards of models of the same architecture that are made already, else by a few steps of training here.

    Args:
        specs: all that are wanted.
        siblings: models of the victim's recipe among them.
        context: where they are stored, and trained for a few steps.
        on_gpus: whether they will be made there; cards of models that were made elsewhere do not count.
        judging: see `RunCost`.
    """
    there = published_ids(context.store, specs)
    lost = _given_up(specs, context.store)
    todo = [spec for spec in specs if spec.id not in there | lost]
    stored = {spec.id: spec for spec in specs if isinstance(spec, ModelSpec) and spec.id in there}
    headers = context.store.headers("model", stored)
    cards = [(stored[key], from_json(ModelCard, header.info)) for key, header in headers.items()]
    seconds, alone, guessed = _by_architecture(todo, cards, context, "cuda" if on_gpus else "cpu")
    owners = [spec for spec in todo if isinstance(spec, ModelSpec) and isinstance(spec.origin, OwnerTrained)]
    own = _owners_seconds(cards)
    for spec in owners:
        seconds[spec.architecture] = seconds.get(spec.architecture, 0.0) + (own or 0.0)
    here = "GPU, alone on it" if context.device.type == "cuda" else "CPU" + ", which GPUs shorten" * on_gpus
    n_models = sum(isinstance(spec, ModelSpec) for spec in todo)
    return RunCost(
        models=n_models,
        stored=len(stored),
        seconds=sum(seconds.values()),
        by_architecture=seconds,
        alone=alone,
        measured_on=f"a few steps of training on this {here}" if guessed else "the models made before",
        siblings=sum(spec.id not in there for spec in siblings),
        untimed=len(owners) if own is None else 0,
        others=len(todo) - n_models,
        judging=judging,
        other_code=by_other_code([header.code for header in headers.values()], code_version()),
    )


def _given_up(specs: Sequence[Spec], store: Store) -> set[str]:
    """Ids of models that stayed below their gate, and of what needs one; specs stand after those that they need."""
    models = [spec.id for spec in specs if isinstance(spec, ModelSpec)]
    lost = {key for _, key in store.has_among(("below_gate", key) for key in models)}
    for spec in specs if lost else ():
        if any(needed.id in lost for needed in spec.needs):
            lost.add(spec.id)
    return lost


def judging_seconds(config: Config) -> float:
    """Of judging an evaluation: the encoders of all methods, on every resample."""
    verdict, fingerprint = config.verdict, config.fingerprint
    points = fingerprint.n_views * fingerprint.n_points
    return JUDGING_SECONDS * verdict.n_resamples * len(verdict.compared) * len(verdict.formats) * points


def _by_architecture(
    todo: Sequence[Spec], cards: Sequence[tuple[ModelSpec, ModelCard]], context: TaskContext, kind: str
) -> tuple[dict[str, float], dict[str, float], bool]:
    """Architecture to seconds, to those of them that were measured alone on a GPU, and whether any was measured now."""
    known = _by_cards(cards, context, kind) if todo else {}
    measured: dict[str, float] = {}
    seconds: dict[str, float] = defaultdict(float)
    alone: dict[str, float] = defaultdict(float)
    for spec in todo:
        if (net := net_of(spec)) is None or not (work := task_work(spec, _sizes(net, context))):
            continue
        name = net.architecture
        if name not in known and name not in measured:
            measured[name] = seconds_per_image(net, context)
        of_one = TASK_SECONDS + work * (known | measured)[name]
        seconds[name] += of_one
        if name in measured and context.device.type == "cuda":
            alone[name] += of_one
    return dict(seconds), dict(alone), bool(measured)


def _by_cards(cards: Iterable[tuple[ModelSpec, ModelCard]], context: TaskContext, kind: str) -> dict[str, float]:
    """Architecture to seconds per image of training, of models that were trained on that kind of device."""
    seconds: dict[str, float] = defaultdict(float)
    work: dict[str, float] = defaultdict(float)
    for spec, card in cards:
        if isinstance(spec.origin, Trained | Extracted | Continued) and card.device.startswith(kind):
            seconds[spec.architecture] += card.seconds
            work[spec.architecture] += task_work(spec, _sizes(spec, context))
    return {architecture: seconds[architecture] / work[architecture] for architecture in seconds}


def _sizes(net: ModelSpec, context: TaskContext) -> DataSizes:
    return DataSizes.of(context.data(net.data)[1])


def _owners_seconds(cards: Iterable[tuple[ModelSpec, ModelCard]]) -> float | None:
    """Of a sibling by the owner's function; None before the first is made: the function is not run to find out."""
    found = [card.seconds for spec, card in cards if isinstance(spec.origin, OwnerTrained)]
    return sum(found) / len(found) if found else None
