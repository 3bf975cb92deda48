"""AUC on churn points by how many of them are sent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from uapfp_dist.evaluation.judging import CHOSEN, by_id, chosen_by, groups_among, parents_of, victims_of
from uapfp_dist.fingerprints.scoring import scores_within_budget
from uapfp_dist.reporting.sections.intervals import with_interval
from uapfp_dist.reporting.sections.report_data import ReportData
from uapfp_dist.rng import numpy_rng
from uapfp_dist.statistics.auc import auc_over_resamples

ALL = "all"
"""All groups of negatives together."""
UNMODIFIED, MODIFIED = "unmodified", "modified"
"""Kinds of stolen models."""
_ROLES = {UNMODIFIED: "piracy", MODIFIED: "modified_piracy"}


def churn_curves(data: ReportData, methods: Sequence[str], budgets: Sequence[int]) -> pd.DataFrame:
    """A row per method, kind of stolen models and budget: images sent, AUC by group (`auc_<group>`) with intervals.

    Args:
        budgets: ascending. One that buys no more than the budget before has the same numbers.
    """
    return pd.DataFrame([row for method in methods for row in _curve(data, method, budgets)])


def rows_at(curves: pd.DataFrame, budgets: Sequence[int]) -> pd.DataFrame:
    """The rows of `budgets`; of those that buy the same images the smallest."""
    return curves[curves["budget"].isin(budgets)].drop_duplicates(["method", "stolen", "images"], ignore_index=True)


@dataclass(frozen=True)
class _Scores:
    """Of one resample, where so many images are sent."""

    tested: dict[str, dict[str, float]]
    """Role to model id to score, test models alone."""
    images: int


def _curve(data: ReportData, method: str, budgets: Sequence[int]) -> Iterator[dict[str, str | float]]:
    kinds = [kind for kind, role in _ROLES.items() if any(m.role == role for m in data.judged.members)]
    images, areas = 0, dict[str, dict[str, float]]()
    for budget in budgets:
        scored = _scored(data, method, budget)
        sent = max((one.images for one in scored), default=0)
        if sent == 0:
            return
        if sent > images:
            images, areas = sent, {kind: _areas(data, method, kind, scored) for kind in kinds}
        for kind in kinds:
            yield {"method": method, "stolen": kind, "budget": budget, "images": images, **areas[kind]}


def _scored(data: ReportData, method: str, budget: int) -> list[_Scores]:
    members, found = data.judged.members, []
    for resample, candidate in chosen_by(data.resamples, method):
        limited = scores_within_budget(data.matrix, resample, method, candidate, budget)
        if limited:
            scores, images = limited[0].tolist(), limited[1]
            roles = {str(members[row].role) for row in resample.test}
            found.append(_Scores({r: by_id(resample.tested(members, r), scores, members) for r in roles}, images))
    return found


def _areas(data: ReportData, method: str, kind: str, scored: Sequence[_Scores]) -> dict[str, float]:
    """AUC with its interval against each group and against all."""
    groups, parents = groups_among(data.judged.members), parents_of(data.judged.members)
    negatives: dict[str, tuple[str, ...]] = {group: (role,) for group, role in groups.items()}
    negatives[ALL] = tuple(groups.values())
    found: dict[str, float] = {}
    for group, roles in negatives.items():
        sides = [
            (one.tested.get(_ROLES[kind], {}), {m: s for role in roles for m, s in one.tested.get(role, {}).items()})
            for one in scored
        ]
        # As in the report's table of areas: the same models are drawn, so that the same scores have the same interval.
        drawn = numpy_rng("bootstrap", method, CHOSEN, group, *([] if kind == UNMODIFIED else [kind]))
        e = auc_over_resamples(sides, drawn, parents=parents, victims=victims_of(data.judged.members))
        found |= with_interval(f"auc_{group}", e.mean, (e.low, e.high))
    return found
