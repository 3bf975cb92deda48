"""The verdict on one suspect of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Verdict:
    """What is said of one model. There is no claim of innocence."""

    model: str
    role: str
    architecture: str
    optimizer: str
    attack: str
    similarity: float
    """By `uap`, whatever decides: mean over views of the cosine to the victim, norms averaged, the format chosen."""
    similarity_std: float
    """Over the views of `uap`."""
    decided_by: str
    """The method that p-value and claim rest on."""
    score: float
    """By that method; it is the similarity where `uap` decides."""
    p_value: float
    """Conformal, over models, of `score`: the largest over the groups of innocents that are large enough."""
    p_value_t_test: float
    """The paper's statistic, on `uap`: mean p of 30 two-sample t-tests over 20 fingerprints."""
    claim: Literal["piracy", "inconclusive", "cannot decide at this alpha"]
    """By `p_value`."""
    queries: int
    """Images sent for `uap`."""
    accuracy: float
    weighted_errors: float
    """The second verdict's score (log likelihood ratio)."""
    weighted_errors_p: float
    """Conformal, of that score."""
    weighted_errors_claim: str
    """By that p-value."""
    not_calibrated_against: tuple[str, ...] = field(default_factory=tuple)
