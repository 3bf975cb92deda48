"""The numbers of the sections about the quality of copies, as they stand in a report's JSON."""

from dataclasses import dataclass

from uapfp_dist.reporting.area_schema import GroupAreas
from uapfp_dist.serialization import Number


@dataclass(frozen=True, kw_only=True)
class RecoveryBin:
    """Extractions stopped at a recovery rate from `recovery_bin` to below `recovery_to`; NaN: without that edge."""

    recovery_bin: Number
    recovery_to: Number
    similarity: Number
    similarity_chosen: Number
    p_value_chosen: Number
    similarity_low: Number
    similarity_high: Number
    similarity_chosen_low: Number
    similarity_chosen_high: Number
    models: int
    extractions: int = 0
    """Of which these models are stops; 0: not counted, in reports of earlier versions."""


@dataclass(frozen=True, kw_only=True)
class MethodAtRecovery(GroupAreas):
    """A method on extractions stopped at a recovery rate; `level` NaN: on the finished stolen models."""

    method: str
    level: Number
    recovery: Number
    """Mean of what was measured."""
    models: int
    similarity: Number
    """Mean, of methods with an encoder; else NaN."""
