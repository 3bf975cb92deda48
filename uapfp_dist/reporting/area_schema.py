"""AUC against each group of negatives, as it stands in a report's JSON."""

import math
from dataclasses import dataclass

from uapfp_dist.serialization import Number


@dataclass(frozen=True, kw_only=True)
class GroupAreas:
    """AUC of stolen models, with 95 % intervals; NaN where a side is empty or an interval has too little."""

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
