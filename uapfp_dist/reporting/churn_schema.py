"""The numbers of the sections about churn and the exact sibling test, as they stand in a report's JSON."""

from dataclasses import dataclass
from typing import Literal

from uapfp_dist.reporting.area_schema import GroupAreas
from uapfp_dist.serialization import Number


@dataclass(frozen=True, kw_only=True)
class ChurnBudget(GroupAreas):
    """AUC by a method that asks for labels on churn points; `all`: against all groups of negatives together."""

    method: str
    stolen: Literal["unmodified", "modified"]
    """The positives: models stolen from the victim, as they are or after every modification."""
    budget: int
    """Images that may be sent."""
    images: int
    """Images that were: all points where there are fewer."""
    auc_all: Number
    auc_all_low: Number
    auc_all_high: Number


@dataclass(frozen=True, kw_only=True)
class ChurnPool:
    """Churn points among the images of one pool."""

    pool: str
    compared: int
    """Images on which the victim was compared with the committee."""
    departures: int
    """Of those, to how many few enough of the committee give its label."""
    points: int
    """Of those, how many models are queried with."""
    pictures: int
    """Images of PROBE that the points were made of."""


@dataclass(frozen=True, kw_only=True)
class SiblingGroup:
    """Accuracy on EVAL of the victim or of siblings, beside the least that was asked of all."""

    who: str
    models: int
    gate: float
    accuracy: Number
    lowest_accuracy: Number
    highest_accuracy: Number


@dataclass(frozen=True, kw_only=True)
class ExactClaims:
    """Models of one role that the exact sibling test claims at alpha, each judged alone."""

    role: str
    points: int
    """Images of each player."""
    images: int
    """In all."""
    models: int
    claimed: Number
    """Share of the models."""
    claimed_low: Number
    claimed_high: Number
    """95 %, Clopper-Pearson, as if models were independent."""
