"""Figure 7: universal beside local perturbations."""

import numpy as np
import pandas as pd

from uapfp_dist.evaluation.judging import CHOSEN
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.sections.intervals import with_interval
from uapfp_dist.reporting.sections.paper_scoring import format_beside_paper, format_words
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.reporting.sections.similarities import similarities_by_architecture


def uap_vs_lap(data: ReportData) -> ReportSection | None:
    """Figure 7: universal beside local perturbations."""
    names = {
        "uap_paper": "UAP at xi",
        "lap_paper": "LAP at xi",
        "random_paper": "random vector at xi",
        "lap_minimal": "LAP, minimal",
    }
    available = data.plan.config.verdict.formats
    fmt = format_beside_paper(available)
    similarities, rows = {}, []
    for method, name in names.items():
        if method in data.resamples[0].methods:
            by_architecture = similarities_by_architecture(data, method, fmt)
            areas = data.report.auc_detail.get(method, {})
            if (column := CHOSEN if fmt is None else fmt.wire) in areas:
                e = areas[column]["homologous"]
                rows.append({"perturbation": name, "method": method, **with_interval("auc", e.mean, (e.low, e.high))})
            similarities[name] = {
                role: np.concatenate([roles[role] for roles in by_architecture.values() if role in roles])
                for role in ("piracy", "homologous")
                if any(role in roles for roles in by_architecture.values())
            }
    if not any(name.startswith("LAP") for name in similarities):
        return None
    return ReportSection(
        "fig7_uap_vs_lap",
        "Figure 7: universal against local perturbations",
        "LAP is DeepFool on the victim for each point, rescaled to the norm of the UAP, xi, or as it comes. One "
        f"encoder each, {format_words(fmt, available)}. All test fingerprints of all resamples; AUC against "
        "independent models. "
        f"{data.setting}.",
        {"fig7_uap_vs_lap": pd.DataFrame(rows)},
        {"fig7_uap_vs_lap": figures.fig7_uap_vs_lap(similarities)},
    )
