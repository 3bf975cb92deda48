"""ROC of every method."""

import numpy as np

from uapfp_dist.evaluation.judging import CHOSEN, model_scores
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection


def roc(data: ReportData) -> ReportSection:
    """Stolen against independent models."""
    members = data.judged.members
    curves: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for method in data.resamples[0].methods:
        for d in data.resamples:
            scored = d.chosen(method)
            if scored is not None:
                scores = np.array(model_scores(scored))
                sides = [scores[d.resample.tested(members, role)] for role in ("piracy", "homologous")]
                curves.setdefault(method, []).append((sides[0], sides[1]))
    areas = {method: data.report.auc[method][CHOSEN]["homologous"] for method in curves}
    return ReportSection(
        "roc",
        "ROC of every method",
        f"Stolen against independent test models, mean over resamples. {data.setting}.",
        {},
        {"roc": figures.roc_curves(curves, areas)},
    )
