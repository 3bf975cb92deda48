"""ROC of every method."""

import numpy as np

from uapfp_dist.evaluation.judging import CHOSEN, chosen_by, model_scores
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection


def roc(data: ReportData) -> ReportSection:
    """Stolen against independent models."""
    members = data.judged.members
    curves: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for method in data.resamples[0].methods:
        for resample, scored in chosen_by(data.resamples, method):
            scores = np.array(model_scores(scored))
            sides = [scores[resample.tested(members, role)] for role in ("piracy", "homologous")]
            curves.setdefault(method, []).append((sides[0], sides[1]))
    areas = {method: data.report.auc[method][CHOSEN]["homologous"] for method in curves}
    return ReportSection(
        "roc",
        "ROC of every method",
        f"Stolen against independent test models, mean over resamples. {data.setting}.",
        {},
        {"roc": figures.roc_curves(curves, areas)},
    )
