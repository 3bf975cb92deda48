"""Specs of trainings that share their beginning: the victim and its siblings differ in the rest alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from uapfp_dist.tasks.hashing import Spec, wire_names

if TYPE_CHECKING:
    from uapfp_dist.tasks.specs import ModelSpec


@wire_names("training_checkpoint", "model share")
@dataclass(frozen=True)
class TrainingCheckpointSpec(Spec):
    """A training as it stood after a share of its steps: weights, optimizer, step."""

    stage: ClassVar[str] = "zoo"
    model: ModelSpec
    """What the whole training would give, of origin `Trained`."""
    share: float
    """Of its steps, between 0 and 1."""

    @property
    def needs(self) -> tuple[Spec, ...]:
        """None."""
        return ()


@wire_names("Continued", "start")
@dataclass(frozen=True)
class Continued:
    """Trained on exactly D_v from a common start; order, augmentation and dropout follow from the own seed."""

    start: TrainingCheckpointSpec | ModelSpec
    """A checkpoint: training goes on to the end of its schedule, with the optimizer as it was. A model, the backbone:
    its weights, with a new optimizer and a schedule of its own."""
    on: ClassVar[Literal["victim_set"]] = "victim_set"
    """As of `Trained`."""

    @property
    def description(self) -> str:
        """Where it started, for tables."""
        if isinstance(self.start, TrainingCheckpointSpec):
            return f"from a checkpoint at {self.start.share:g} of the steps"
        return "from a backbone"
