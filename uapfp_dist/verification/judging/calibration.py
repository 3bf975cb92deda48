"""Conformal decisions on single scores by the calibration models of a kit."""

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


def groups_not_calibrated(kit: Kit, too_small: Sequence[str] = ()) -> tuple[str, ...]:
    """Groups of negatives that a kit says nothing about; kits without siblings know of no sibling piracy."""
    sizes = group_sizes(kit)
    known = [group for group in GROUPS if kit.churn is not None or group != "sibling"]
    return tuple(group for group in known if group not in sizes or group in too_small)


def max_suspects(kit: Kit, alpha: float) -> int:
    """How many suspects can be judged together: the first of Holm's steps needs p <= alpha / K."""
    sizes = [len(kit.exact.index) - 1] if kit.exact is not None and kit.exact_claims else group_sizes(kit).values()
    smallest = min(sizes, default=0)
    most = int((smallest + 1) * alpha + 1e-9)
    # With churn points come more calibration models than the least, and a register of looks one after another.
    return most if kit.churn is None or kit.info.max_suspects is None else min(most, kit.info.max_suspects)


def decide_by(kit: Kit, scores: Tensor, suspect: float, alpha: float) -> Decision:
    """The conformal decision on one score against the calibration models' (M,) scores."""
    groups: dict[str, list[float]] = {}
    for row, value in zip(kit.info.models, scores.tolist(), strict=True):
        if row.part == "calibration":
            groups.setdefault(row.group, []).append(value)
    return decide(suspect, groups, alpha)
