"""All methods side by side, at their own cost and at the same number of queries."""

from typing import Any

import numpy as np
import pandas as pd

from uapfp_dist.evaluation.judging import GROUPS, by_id, model_scores
from uapfp_dist.fingerprints.scoring import scores_within_budget
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.report_tables import methods_table
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.rng import numpy_rng
from uapfp_dist.statistics.auc import auc_over_resamples


def methods(evidence: ReportData) -> ReportSection:
    """AUC against every group of innocents, at each method's own cost and at equal cost."""
    own, equal = _own(evidence), _equal(evidence)
    # The figure prints each method's own cost.
    table = pd.concat([own.assign(budget="own"), equal.drop(columns="queries").assign(budget="equal")])
    budget, negatives = evidence.plan.config.verdict.query_budget, evidence.report["tpr_negatives"]
    short = [
        f"{float(rate):.0%} ({needed})" for rate, needed in negatives["needed"].items() if needed > negatives["models"]
    ]
    few = (
        f" A TPR without a number: draw 0 tests {negatives['models']} homologous models, fewer than are needed to let "
        f"any through at a false positive rate of {' and '.join(short)}."
        if short
        else ""
    )
    return ReportSection(
        "methods",
        "All methods compared",
        "AUC over draws with a 95 % bootstrap interval over models. `chosen`: the format is chosen on each draw's "
        "training models; encoders average their norms, `agreement` and `uap_weighted`, which have no encoder, choose "
        f"one. `own`: as many queries as the method takes; `equal`: at most {budget} images per suspect for every "
        f"method, by the best way that they pay for.{few} {evidence.setting}.",
        {
            "methods_at_equal_budget": equal,
            "methods_chosen": own,
            "methods": methods_table(evidence.draws, evidence.report),
        },
        {"auc": figures.methods_auc(table)},
        {"auc_at_equal_budget": _nested(equal)},
        tuple(evidence.report["remarks"]),
    )


def _own(evidence: ReportData) -> pd.DataFrame:
    rows = []
    for method, formats in evidence.report["auc_detail"].items():
        scored = evidence.draws[0].chosen(method)
        for group, e in formats["chosen"].items():
            numbers = {key: e[key] for key in ("mean", "low", "high")}
            rows.append({"method": method, "group": group, **numbers, "queries": scored.queries if scored else None})
    return pd.DataFrame(rows)


def _equal(evidence: ReportData) -> pd.DataFrame:
    budget, members = evidence.plan.config.verdict.query_budget, evidence.panelists.members
    rows = []
    for method in evidence.draws[0].methods:
        pairs: dict[str, list[Any]] = {group: [] for group in GROUPS}
        queries = 0
        for d in evidence.draws:
            ways = (scores_within_budget(evidence.panel, d.draw, method, scored, budget) for scored in d.ranked(method))
            found = next((way for way in ways if way is not None), None)  # the best that the budget can pay for
            if found is None:
                continue
            tensor, used = found
            queries = max(queries, used)
            scores = [float(value) for value in tensor]
            positive = by_id(d.draw.tested(members, "piracy"), scores, members)
            for group, role in GROUPS.items():
                pairs[group].append((positive, by_id(d.draw.tested(members, role), scores, members)))
        for group, scores_of in pairs.items():
            e = auc_over_resamples(scores_of, numpy_rng("bootstrap", "equal", method, group))
            rows.append(
                {"method": method, "group": group, "mean": e.mean, "low": e.low, "high": e.high, "queries": queries}
            )
    return pd.DataFrame(rows)


def _nested(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for record in table.to_dict("records"):
        found.setdefault(record["method"], {})[record["group"]] = record["mean"]
    return found


def roc(evidence: ReportData) -> ReportSection:
    """ROC of every method, and the score of every model of draw 0 by group."""
    members = evidence.panelists.members
    curves: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for method in evidence.draws[0].methods:
        for d in evidence.draws:
            scored = d.chosen(method)
            if scored is not None:
                scores = np.array(model_scores(scored))
                sides = [scores[d.draw.tested(members, role)] for role in ("piracy", "homologous")]
                curves.setdefault(method, []).append((sides[0], sides[1]))
    areas = {method: evidence.report["auc"][method]["chosen"]["homologous"] for method in curves}
    return ReportSection(
        "roc",
        "ROC of every method",
        f"Piracy against homologous test models, mean over draws. {evidence.setting}.",
        {},
        {"roc": figures.roc_curves(curves, areas)},
    )
