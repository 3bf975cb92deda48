"""The numbers of the sections about references and about UAP subspaces, as they stand in a report's JSON."""

import math
from dataclasses import dataclass

from uapfp_dist.serialization import Number


@dataclass(frozen=True, kw_only=True)
class MatchingRates:
    """IPGuard's points at one k: how many there are, and how often models of each role say what the victim says."""

    points_of: str
    """D_v or PROBE."""
    k: Number
    points: int
    """Images that reached the label wanted of them; the others are not sent."""
    tried: int
    """Images that it was tried with."""
    chosen: Number
    """Share of the resamples in which the training models choose this k, for labels."""
    rate: dict[str, Number]
    """Role to mean matching rate of labels."""


@dataclass(frozen=True, kw_only=True)
class SubspaceNumbers:
    """Inconsist (Eq. 5), mean by role, and how many directions it is measured in."""

    n_uaps: int
    mean: dict[str, Number]
    ratio_homologous_over_piracy: Number
    ratio_homologous_over_piracy_low: Number
    ratio_homologous_over_piracy_high: Number
    rank: int
    start_cosine: Number = math.nan
    """Mean over the UAPs of all models of the cosine to their start; NaN: not known."""
    forgotten: Number = math.nan
    """Share of the UAPs whose cosine is below the limit."""
