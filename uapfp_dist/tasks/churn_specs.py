"""Specs of churn: where a victim disagrees with its siblings, and what models say there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from uapfp_dist.tasks.hashing import Spec, wire_names
from uapfp_dist.tasks.method_configs import ChurnConfig
from uapfp_dist.tasks.specs import ModelSpec, ProbeSpec


@wire_names("churn", "victim siblings config seed probe")
@dataclass(frozen=True)
class ChurnSpec(Spec):
    """The images on which a victim disagrees with its siblings."""

    stage: ClassVar[str] = "probe"
    victim: ModelSpec
    siblings: tuple[ModelSpec, ...]
    """The committee."""
    config: ChurnConfig
    seed: int
    probe: ProbeSpec | None = None
    """Whose UAPs and random vectors move the images of two further pools; None: there are none."""

    @property
    def needs(self) -> tuple[Spec, ...]:
        """The victim, its siblings, the probe."""
        return (self.victim, *self.siblings, *([self.probe] if self.probe else []))


@wire_names("churn_answers", "model churn")
@dataclass(frozen=True)
class ChurnResponseSpec(Spec):
    """The labels that one model gives to churn points."""

    stage: ClassVar[str] = "answers"
    model: ModelSpec
    churn: ChurnSpec

    @property
    def needs(self) -> tuple[Spec, ...]:
        """The model and the churn points."""
        return (self.model, self.churn)
