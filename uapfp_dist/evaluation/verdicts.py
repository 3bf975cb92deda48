"""The verdict on one suspect of an evaluation."""

import math
from dataclasses import dataclass
from typing import Literal

from uapfp_dist.serialization import Number


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The decision on one model. There is no claim of innocence."""

    model: str
    role: str
    architecture: str
    optimizer: str
    attack: str
    similarity: Number
    """By `uap`, whatever decides: mean over views of the cosine to the victim, norms averaged, the format chosen."""
    similarity_std: Number
    """Over the views of `uap`."""
    decided_by: str = "uap"
    """The method that p-value and claim rest on."""
    score: Number = math.nan
    """By that method; it is the similarity where `uap` decides."""
    p_value: Number
    """Conformal, over models, of `score`: the largest over the groups of negatives that are large enough."""
    p_value_t_test: Number
    """The paper's statistic, on `uap`: mean p of 30 two-sample t-tests over 20 fingerprints."""
    claim: Literal["piracy", "inconclusive", "cannot decide at this alpha"]
    """By `p_value`."""
    queries: int
    """Images that `uap` queries."""
    accuracy: Number
    weighted_errors: Number
    """The second verdict's score (log likelihood ratio)."""
    weighted_errors_p: Number
    """Conformal, of that score."""
    weighted_errors_claim: str
    """By that p-value."""
    not_calibrated_against: tuple[str, ...] = ()
    """Groups of negatives with too few calibration models."""
