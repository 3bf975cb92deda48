"""All methods side by side, at their own cost and at the same number of queries."""

import pandas as pd

from uapfp_dist.evaluation.judging import CHOSEN, Group, by_id, groups_among, victims_of
from uapfp_dist.fingerprints.scoring import scores_within_budget
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.report_tables import methods_table
from uapfp_dist.reporting.section_schema import SectionNumbers
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.rng import numpy_rng
from uapfp_dist.statistics.auc import Sides, auc_over_resamples


def methods(data: ReportData) -> ReportSection:
    """AUC against every group of negatives, at each method's own cost and at equal cost."""
    own, equal = _own(data), _equal(data)
    # The figure prints each method's own cost.
    table = pd.concat([own.assign(budget="own"), equal.drop(columns="queries").assign(budget="equal")])
    budget, negatives = data.plan.config.verdict.query_budget, data.report.tpr_negatives
    assert negatives is not None
    short = [f"{float(rate):.0%} ({needed})" for rate, needed in negatives.needed.items() if needed > negatives.models]
    few = (
        f" A TPR without a number: resample 0 tests {negatives.models} independent models, fewer than needed to let "
        f"any through at a false positive rate of {' and '.join(short)}."
        if short
        else ""
    )
    return ReportSection(
        "methods",
        "All methods compared",
        "AUC over resamples with a 95 % bootstrap interval over models; against models stolen from others, over their "
        "victims first, then models, and no interval with fewer than five victims. `chosen`: the format is chosen on "
        "the training models of each resample; encoders are averaged over norms, `agreement` and `uap_weighted`, which "
        f"have no encoder, choose one. `own`: as many queries as the method needs; `equal`: at most {budget} images "
        f"per suspect for every method, with the best setting that these allow.{few} {data.setting}.",
        {
            "methods_at_equal_budget": equal,
            "methods_chosen": own,
            "methods": methods_table(data.resamples, data.report),
        },
        {"auc": figures.methods_auc(table)},
        SectionNumbers(auc_at_equal_budget=_nested(equal)),
        data.report.remarks,
    )


def _own(data: ReportData) -> pd.DataFrame:
    rows = []
    for method, formats in data.report.auc_detail.items():
        scored = data.resamples[0].chosen(method)
        for group, e in formats[CHOSEN].items():
            numbers = {"mean": e.mean, "low": e.low, "high": e.high}
            rows.append({"method": method, "group": group, **numbers, "queries": scored.queries if scored else None})
    return pd.DataFrame(rows)


def _equal(data: ReportData) -> pd.DataFrame:
    budget, members = data.plan.config.verdict.query_budget, data.judged.members
    groups = groups_among(members)
    rows = []
    for method in data.resamples[0].methods:
        pairs: dict[Group, list[Sides]] = {group: [] for group in groups}
        queries = 0
        for d in data.resamples:
            scores_of = (scores_within_budget(data.matrix, d.resample, method, c, budget) for c in d.ranked(method))
            found = next((scores for scores in scores_of if scores is not None), None)  # the best within the budget
            if found is None:
                continue
            queries = max(queries, found[1])
            scores = [float(value) for value in found[0]]
            positive = by_id(d.resample.tested(members, "piracy"), scores, members)
            for group, role in groups.items():
                pairs[group].append((positive, by_id(d.resample.tested(members, role), scores, members)))
        for group, sides in pairs.items():
            e = auc_over_resamples(sides, numpy_rng("bootstrap", "equal", method, group), victims=victims_of(members))
            rows.append(
                {"method": method, "group": group, "mean": e.mean, "low": e.low, "high": e.high, "queries": queries}
            )
    return pd.DataFrame(rows)


def _nested(table: pd.DataFrame) -> dict[str, dict[Group, float]]:
    found: dict[str, dict[Group, float]] = {}
    for record in table.to_dict("records"):
        found.setdefault(record["method"], {})[record["group"]] = record["mean"]
    return found
