"""The verdict on one suspect."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from uapfp_dist.response_format import ResponseFormat

METHODS = ("uap", "weighted_errors")


PIRACY, INCONCLUSIVE, UNDECIDABLE = "piracy", "inconclusive", "cannot decide at this alpha"


GROUPS = ("homologous", "same_data", "other_victim")
"""Groups of innocents that a kit can be calibrated against."""


@dataclass(frozen=True)
class SuspectAnswers:
    """What a suspect answered."""

    name: str
    probabilities: Tensor
    """(Q, C) float32 in the kit's order; rows never asked are NaN; labels are one-hot."""
    format: ResponseFormat
    findings: tuple[str, ...] = ()
    """Why these answers are not sane."""
    fatal: bool = False
    """They forbid the claim of piracy."""


@dataclass(frozen=True)
class SuspectVerdict:
    """What is said of one suspect. There is no claim of innocence."""

    name: str
    claim: str
    """`piracy`, `inconclusive` or `cannot decide at this alpha`."""
    p_value: float
    """Conformal, over models, by the method that decides: the largest over the groups of innocents (protocol 3.1)."""
    p_adjusted: float
    """The same after Holm's correction for the suspects judged at once."""
    alpha: float
    """Tolerated rate of false accusation over all of them."""
    decided_by: str
    """`uap` or `weighted_errors`, fixed at enrolment by cross-validation inside the training models."""
    decided_because: str
    """Why it does, in words."""
    similarity: float
    """Mean over views of the cosine to the victim, in [0, 1]; NaN when no view was answered whole."""
    similarity_std: float
    """Over views."""
    p_value_uap: float
    weighted_errors: float
    """Log likelihood ratio of piracy against innocence; NaN when none was asked."""
    p_value_weighted_errors: float
    p_value_t_test: float
    """The paper's statistic, which takes the views of one model for independent; printed, never used."""
    queries: int
    """Images answered."""
    agreement_clean: float
    """Share of unperturbed training images of the victim with its label; NaN when none was asked."""
    power: dict[str, Any]
    """Share of held-out piracy that these images catch at this alpha: `all`, and by `<attack>:<labels>`."""
    calibration: dict[str, int]
    """Group of innocents to its number of models."""
    not_calibrated_against: tuple[str, ...]
    findings: tuple[str, ...]
    limits: tuple[str, ...]
    """What this verdict cannot say, in plain sentences."""
    scores: dict[str, list[float]] = field(default_factory=dict)
    """For the picture: scores by the method that decides, of calibration models by group and of held-out `piracy`."""
    format: str = ""
    """The kit's format by which the answers were judged."""

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; what is no number is null."""
        plain: dict[str, Any] = _without_nan(asdict(self))
        return plain


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
