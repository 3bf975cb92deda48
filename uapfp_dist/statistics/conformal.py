"""Conformal p-values over models, and the decision at a level."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CANNOT_DECIDE = "cannot decide at this alpha"
"""The claim where calibration is too small for any."""


def needed_for(alpha: float) -> int:
    """The fewest calibration models with which a p-value can reach `alpha` (protocol 3.1)."""
    return math.ceil(round(1 / alpha, 9)) - 1


def conformal_p(score: float, calibration: Sequence[float]) -> float:
    """(1 + #{calibration models scoring >= the suspect}) / (1 + m): valid if exchangeable (protocol 3.1).

    Args:
        score: of the suspect, higher where it is more similar to the victim; with NaN p is 1.
        calibration: scores of m models not derived from the victim, which trained nothing; p can reach 1 / (1 + m).

    Returns:
        the p-value, in (0, 1]. A suspect exchangeable with them has p at most alpha with probability at most alpha.

    >>> from uapfp_dist import conformal_p
    >>> conformal_p(0.9, [0.1, 0.5, 0.95]), conformal_p(0.9, [0.1] * 19)
    (0.5, 0.05)
    """
    return (1 + sum(not other < score for other in calibration)) / (1 + len(calibration))


@dataclass(frozen=True)
class Decision:
    """A claim at level alpha and its p-value."""

    p_value: float
    claim: str
    not_calibrated_against: tuple[str, ...]


def decide(
    score: float, calibration: Mapping[str, Sequence[float]], alpha: float, required: Sequence[str] = ()
) -> Decision:
    """The largest conformal p over the groups of negatives that are large enough for `alpha`.

    Args:
        score: the suspect's.
        calibration: group of negatives to the scores of its calibration models.
        alpha: tolerated rate of false accusation.
        required: groups without which, large enough, the others decide nothing.
    """
    enough = {name: scores for name, scores in calibration.items() if len(scores) >= needed_for(alpha)}
    too_small = tuple(name for name in calibration if name not in enough)
    if not enough or not set(required) <= enough.keys():
        p = max((conformal_p(score, scores) for scores in calibration.values()), default=1.0)
        return Decision(p, CANNOT_DECIDE, too_small)
    p = max(conformal_p(score, scores) for scores in enough.values())
    # p is a ratio of counts: compare with a tolerance far below 1 / (m + 1).
    return Decision(p, "piracy" if p <= alpha + 1e-12 else "inconclusive", too_small)
