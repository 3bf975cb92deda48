"""Models and their roles in an evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from uapfp_dist.tasks.specs import (
    ModelSpec,
)


@dataclass(frozen=True)
class Member:
    """A model's place in the evaluation."""

    role: str
    spec: ModelSpec

    @property
    def stolen_from(self) -> str:
        """For extracted models, modified or not, the id of whom they were stolen from, else an empty string."""
        extraction = self.spec.extraction
        return extraction.victim.id if extraction else ""


ROLES = {
    "victim": "the owner's model",
    "other_victim": "another owner's model, homologous to the victim, from which others steal",
    "piracy": "stolen from the victim, hard labels",
    "soft_piracy": "stolen from the victim, soft labels",
    "homologous": "trained on a set of its own that overlaps with the victim's",
    "same_data": "trained on exactly the victim's set, with another seed",
    "other_victim_piracy": "stolen from another victim",
    "calibration_piracy": "stolen from one further other victim each: calibrates against piracy of other victims",
    "checkpoint_piracy": "stolen from the victim, as it stood at a recovery rate",
    "overlap_homologous": "trained on a set that shares a chosen part of the victim's",
    "modified_victim": "the victim, modified",
    "modified_piracy": "stolen from the victim, then modified",
    "modified_homologous": "homologous, then modified",
}


STOLEN_ROLES = ("piracy", "soft_piracy")


NEGATIVE_ROLES = ("homologous", "same_data", "other_victim_piracy")


def members_of(members: Iterable[Member], role: str) -> list[Member]:
    """Those of one role, in their order."""
    return [m for m in members if m.role == role]
