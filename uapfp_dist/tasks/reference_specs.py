"""Spec of what references need beyond a probe: made apart, so that probes stored before stay what they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from uapfp_dist.tasks.hashing import Spec, wire_names
from uapfp_dist.tasks.specs import ModelSpec, ProbeSpec, ProbeTwinSpec


@wire_names("references", "probe ipguard_k")
@dataclass(frozen=True)
class ReferenceSpec(Spec):
    """IPGuard's points on those of a probe; on points of PROBE also what the probe of D_v alone has."""

    stage: ClassVar[str] = "probe"
    probe: ProbeSpec | ProbeTwinSpec
    ipguard_k: tuple[float, ...]
    """Leads of the wanted label, in logits."""

    @property
    def needs(self) -> tuple[Spec, ...]:
        """The victim and the probe; of a twin also the probe whose perturbations it takes."""
        if isinstance(self.probe, ProbeTwinSpec):
            return (self.probe.probe.victim, self.probe.probe, self.probe)
        return (self.probe.victim, self.probe)


@wire_names("reference_answers", "model references part")
@dataclass(frozen=True)
class ReferenceResponseSpec(Spec):
    """The responses of one model to references."""

    stage: ClassVar[str] = "answers"
    model: ModelSpec
    references: ReferenceSpec
    part: Literal["all", "test"] = "all"
    """As in `ResponseSpec`."""

    @property
    def needs(self) -> tuple[Spec, ...]:
        """The model and the references."""
        return (self.model, self.references)
