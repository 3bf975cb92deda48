"""Conformal decisions on single scores by the calibration models of a kit."""

import math
from collections import Counter
from collections.abc import Sequence

from torch import Tensor

from uapfp_dist.statistics.conformal import Decision, decide
from uapfp_dist.verification.judging.verdict import GROUPS
from uapfp_dist.verification.kit.kit import Kit


def group_sizes(kit: Kit) -> dict[str, int]:
    """Group of negatives to its number of calibration models."""
    counts = Counter(row.group for row in kit.info.models if row.part == "calibration")
    return {group: counts[group] for group in GROUPS if counts[group]}


def groups_not_calibrated(kit: Kit, too_small: Sequence[str]) -> tuple[str, ...]:
    """Groups of negatives that a kit says nothing about; kits without siblings know of no sibling piracy."""
    sizes = group_sizes(kit)
    known = [group for group in GROUPS if kit.churn is not None or group != "sibling"]
    return tuple(group for group in known if group not in sizes or group in too_small)


def smallest_calibration(kit: Kit) -> int:
    """m of the test that claims, whose p is at least 1 / (1 + m): models of the smallest group, or siblings."""
    if kit.exact is not None and kit.exact_claims:
        return len(kit.exact.index) - 1
    return min(group_sizes(kit).values(), default=0)


def max_suspects(kit: Kit, alpha: float) -> int:
    """How many suspects can be judged, together or one after another: the first of Holm's steps needs p <= alpha / K.

    A kit with churn points corrects for the K that it was enrolled for from the first on: it decides those, or none.
    """
    most = int((smallest_calibration(kit) + 1) * alpha + 1e-9)
    if kit.churn is None or kit.info.max_suspects is None:
        return most
    return kit.info.max_suspects if kit.info.max_suspects <= most else 0


def smallest_alpha(kit: Kit) -> float:
    """The smallest tolerated rate, rounded up to four decimals, at which it can decide about a suspect."""
    return math.ceil(round(1e4 * kit.n_corrected() / (smallest_calibration(kit) + 1), 6)) / 1e4


def how_to_decide(kit: Kit, alpha: float, n_suspects: int) -> str:
    """What to do where a kit cannot decide so many suspects."""
    enrolled = f"enroll a kit with max_suspects {n_suspects}"
    if kit.churn is None or max_suspects(kit, alpha):
        return enrolled
    return f"allow a larger alpha, as each is corrected for {kit.n_corrected()} suspects, or {enrolled}"


def decide_by(kit: Kit, scores: Tensor, suspect: float, alpha: float) -> Decision:
    """The conformal decision on one score against the calibration models' (M,) scores."""
    groups: dict[str, list[float]] = {}
    for row, value in zip(kit.info.models, scores.tolist(), strict=True):
        if row.part == "calibration":
            groups.setdefault(row.group, []).append(value)
    return decide(suspect, groups, alpha)
