"""Decisions by a kit on single scores: power and false accusations."""

from collections import Counter
from typing import Any

from torch import Tensor

from uapfp_dist.statistics.conformal import Decision, decide
from uapfp_dist.verification.kit import Kit
from uapfp_dist.verification.verdict import GROUPS, PIRACY


def group_sizes(kit: Kit) -> dict[str, int]:
    """Group of innocents to its number of calibration models."""
    counts = Counter(row["group"] for row in kit.info["models"] if row["part"] == "calibration")
    return {group: counts[group] for group in GROUPS if counts[group]}


def most_suspects(kit: Kit, alpha: float) -> int:
    """How many suspects can be judged at once: the first of Holm's steps needs p <= alpha / K."""
    smallest = min(group_sizes(kit).values(), default=0)
    return int((smallest + 1) * alpha + 1e-9)


def decide_by(kit: Kit, scores: Tensor, suspect: float, alpha: float) -> Decision:
    """The conformal decision on one score against the calibration models' (M,) scores."""
    groups: dict[str, list[float]] = {}
    for row, value in zip(kit.info["models"], scores.tolist(), strict=True):
        if row["part"] == "calibration":
            groups.setdefault(row["group"], []).append(value)
    return decide(suspect, groups, alpha)


def accusation_counts(kit: Kit, scores: Tensor, alpha: float) -> dict[str, dict[str, list[int]]]:
    """Held-out models accused at `alpha`, each judged alone: `power` and `false_accusations`.

    Returns:
        for each of them, kind (`all`; `<attack>:<labels>`, or the group of innocents) to [accused, of so many].
    """
    found: dict[str, dict[str, list[int]]] = {"power": {}, "false_accusations": {}}
    for row, value in zip(kit.info["models"], scores.tolist(), strict=True):
        if row["part"] != "test":
            continue
        stolen = row["group"] == "piracy"
        accused = decide_by(kit, scores, value, alpha).claim == PIRACY
        table = found["power" if stolen else "false_accusations"]
        for kind in ("all", f"{row['attack']}:{row['labels']}" if stolen else row["group"]):
            entry = table.setdefault(kind, [0, 0])
            entry[0] += accused
            entry[1] += 1
    return found


def _calibrates(row: dict[str, Any]) -> bool:
    """Whether a model is of the group that the paper's test compares with."""
    return bool(row["part"] == "calibration" and row["group"] == "homologous")
