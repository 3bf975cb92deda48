"""Models and their roles in an evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from uapfp_dist.tasks.specs import ModelSpec


class Role(StrEnum):
    """What a model is in an evaluation; the values are wire names.

    *Independent* models (homologous in the paper) are stolen from no victim. *Stolen* (extracted) models (piracy in the
    paper) learned from a victim's responses. *Negatives* are models not derived from this victim: independent ones,
    and those stolen from others.
    """

    VICTIM = "victim"
    OTHER_VICTIM = "other_victim"
    PIRACY = "piracy"
    SOFT_PIRACY = "soft_piracy"
    HOMOLOGOUS = "homologous"
    SAME_DATA = "same_data"
    OTHER_VICTIM_PIRACY = "other_victim_piracy"
    CALIBRATION_PIRACY = "calibration_piracy"
    SIBLING = "sibling"
    SIBLING_PIRACY = "sibling_piracy"
    OTHER_ARCHITECTURE = "other_architecture"
    SECOND_HAND_PIRACY = "second_hand_piracy"
    MIXED_PIRACY = "mixed_piracy"
    RELABELLED_PIRACY = "relabelled_piracy"
    RELABELLED_HOMOLOGOUS = "relabelled_homologous"
    CHECKPOINT_PIRACY = "checkpoint_piracy"
    OVERLAP_HOMOLOGOUS = "overlap_homologous"
    MODIFIED_VICTIM = "modified_victim"
    MODIFIED_PIRACY = "modified_piracy"
    MODIFIED_HOMOLOGOUS = "modified_homologous"

    @property
    def description(self) -> str:
        """One line for tables."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS = {
    Role.VICTIM: "the owner's model",
    Role.OTHER_VICTIM: "another owner's model, independent of the victim, from which others steal",
    Role.PIRACY: "stolen from the victim, hard labels",
    Role.SOFT_PIRACY: "stolen from the victim, soft labels",
    Role.HOMOLOGOUS: "trained on a set of its own that overlaps with the victim's",
    Role.SAME_DATA: "trained on exactly the victim's set, with another seed",
    Role.OTHER_VICTIM_PIRACY: "stolen from another victim",
    Role.CALIBRATION_PIRACY: "stolen from one further other victim each: calibrates against those stolen from others",
    Role.SIBLING: "the victim's recipe and images, another seed: trained by the owner, never published",
    Role.SIBLING_PIRACY: "stolen from one sibling each, none of those that the victim is compared with",
    Role.OTHER_ARCHITECTURE: "independent, of an architecture that no training model has",
    Role.SECOND_HAND_PIRACY: "stolen from a model that was stolen from the victim",
    Role.MIXED_PIRACY: "stolen from the victim by an attacker who has true labels of a share of the images",
    Role.RELABELLED_PIRACY: "stolen from the victim by an attacker who makes its labels noisy or smooth",
    Role.RELABELLED_HOMOLOGOUS: "independent, trained on labels made noisy or smooth",
    Role.CHECKPOINT_PIRACY: "stolen from the victim, as it stood at a recovery rate",
    Role.OVERLAP_HOMOLOGOUS: "trained on a set that shares a chosen part of the victim's",
    Role.MODIFIED_VICTIM: "the victim, modified",
    Role.MODIFIED_PIRACY: "stolen from the victim, then modified",
    Role.MODIFIED_HOMOLOGOUS: "independent, then modified",
}

STOLEN_ROLES = (Role.PIRACY, Role.SOFT_PIRACY)
"""Stolen from the victim, not modified."""
NEGATIVE_ROLES = (Role.HOMOLOGOUS, Role.SAME_DATA, Role.OTHER_VICTIM_PIRACY, Role.SIBLING_PIRACY)
"""Not derived from the victim, not modified; those that calibrate alone are left out."""
CONTROL_ROLES = (
    Role.OTHER_ARCHITECTURE,
    Role.SECOND_HAND_PIRACY,
    Role.MIXED_PIRACY,
    Role.RELABELLED_PIRACY,
    Role.RELABELLED_HOMOLOGOUS,
)
"""Tested only: stolen and independent models unlike those that train or calibrate."""
STOLEN_FROM_OTHERS = (Role.OTHER_VICTIM_PIRACY, Role.CALIBRATION_PIRACY, Role.SIBLING_PIRACY)
"""Of these the victims count as independent samples, not the models (protocol 3.8)."""
MODIFIED_ROLES = (Role.MODIFIED_VICTIM, Role.MODIFIED_PIRACY, Role.MODIFIED_HOMOLOGOUS)
"""Tested in the resamples that test the model that was modified."""

DERIVED_ROLES = (
    *STOLEN_ROLES,
    Role.SECOND_HAND_PIRACY,
    Role.MIXED_PIRACY,
    Role.RELABELLED_PIRACY,
    Role.MODIFIED_VICTIM,
    Role.MODIFIED_PIRACY,
)
"""Derived from the victim; other suspects are negatives."""


@dataclass(frozen=True)
class Member:
    """A model and its role in an evaluation."""

    role: Role
    spec: ModelSpec

    @property
    def stolen_from(self) -> str:
        """Of extracted models, modified or not, the id of their victim, else an empty string."""
        extraction = self.spec.extraction
        return extraction.victim.id if extraction else ""


def members_of(members: Iterable[Member], role: Role) -> list[Member]:
    """Those of one role, in their order."""
    return [m for m in members if m.role == role]
