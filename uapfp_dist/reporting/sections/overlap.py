"""Similarity against the share of the victim's training set that a model was trained on."""

import pandas as pd

from uapfp_dist.reporting import figures
from uapfp_dist.reporting.section_schema import OverlapGroup, SectionNumbers, rows_of
from uapfp_dist.reporting.sections.intervals import over_models
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.tasks.specs import Trained


def overlap(data: ReportData) -> ReportSection | None:
    """The supplement's ablation: how similar are independent models that share more of D_v."""
    members = {m.spec.id: m for m in data.judged.members}
    rows = []
    for method, frame in {data.paper_scoring.method: data.paper, "uap": data.chosen}.items():
        models = data.per_model(frame)
        piracy = models[models["role"] == "piracy"]["similarity"].to_numpy()
        for record in models[models["role"] == "overlap_homologous"].to_dict("records"):
            origin = members[record["model"]].spec.root.origin
            assert isinstance(origin, Trained)
            rows.append(
                {
                    "method": method,
                    "overlap": origin.overlap,
                    "similarity": record["similarity"],
                    "accused": record["accused"],
                    "auc": float((piracy > record["similarity"]).mean()),
                }
            )
    if not rows:
        return None
    table = pd.DataFrame(rows).sort_values(["method", "overlap"], kind="stable")
    numbers = ["similarity", "accused", "auc"]
    summary = over_models(table, ["method", "overlap"], numbers, ["similarity", "auc"], shares=["auc"])
    return ReportSection(
        "overlap",
        "Overlap of D_homo and D_v (supplement)",
        f"Independent models whose training set shares a chosen part of the victim's. {_methods(data)} `auc` is the "
        "share of stolen models that score higher. Intervals: 95 % bootstrap over those independent models. The "
        f"paper's values are not published. {data.setting}.",
        {"overlap": summary},
        {
            "overlap": figures.ablation_lines(
                summary, "overlap", ("similarity", "auc"), "method", "share of D_homo in D_v"
            )
        },
        SectionNumbers(overlap=rows_of(OverlapGroup, summary)),
    )


def _methods(data: ReportData) -> str:
    """What the rows' methods are, in a sentence."""
    scoring = data.paper_scoring
    beside = ", beside `uap`, norms averaged and the format chosen" if scoring.method != "uap" else ""
    return f"Similarity is by {scoring.words}{beside}."
