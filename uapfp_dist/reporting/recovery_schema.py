"""The numbers of the sections about the quality of copies, as they stand in a report's JSON."""

import math
from dataclasses import dataclass

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


@dataclass(frozen=True, kw_only=True)
class MethodAtRecovery:
    """A method on extractions stopped at a recovery rate; `level` NaN: on the finished stolen models."""

    method: str
    level: Number
    recovery: Number
    """Mean of what was measured."""
    models: int
    similarity: Number
    """Mean, of methods with an encoder; else NaN."""
    auc_homologous: Number
    auc_homologous_low: Number
    auc_homologous_high: Number
    auc_other_victim: Number
    auc_other_victim_low: Number
    auc_other_victim_high: Number
    auc_same_data: Number
    auc_same_data_low: Number
    auc_same_data_high: Number
    auc_sibling: Number = math.nan
    auc_sibling_low: Number = math.nan
    auc_sibling_high: Number = math.nan
