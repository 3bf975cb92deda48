"""Figure 6 right: similarity against recovery rate."""

import math

import pandas as pd

from uapfp_dist.reporting import figures
from uapfp_dist.reporting.recovery_schema import RecoveryBin
from uapfp_dist.reporting.section_schema import SectionNumbers, rows_of
from uapfp_dist.reporting.sections.intervals import over_models
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.tasks.specs import Checkpoint


def recovery(data: ReportData) -> ReportSection | None:
    """Figure 6 right: models in the middle of their extraction."""
    models = data.per_model(data.paper)
    if "checkpoint_piracy" not in set(models["role"]):
        return None
    chosen = data.per_model(data.chosen)[["model", "similarity", "p_value", "accused"]]
    shown = models[models["role"].isin(("checkpoint_piracy", "homologous"))]
    table = shown.merge(chosen, on="model", suffixes=("", "_chosen"))
    base = {
        m.spec.id: m.spec.origin.trajectory.id
        for m in data.judged.members
        if isinstance(m.spec.origin, Checkpoint)  # stops of one extraction hang together
    }
    table = table.assign(
        role=table["role"].replace("checkpoint_piracy", "piracy"),
        base=[base.get(model, model) for model in table["model"]],
    )
    summary = binned(table[table["role"] == "piracy"])
    return ReportSection(
        "fig6_recovery",
        "Figure 6 right: similarity against recovery rate",
        "Substitutes at the first moment of each recovery rate in an extraction of the victim, in the paper's bins: "
        ".02 wide, named by their lower edge, the last one with both edges; a bin without a lower or an upper edge "
        "holds what lies outside [.78, .94]. Similarity by "
        f"{data.paper_scoring.words}, and by `uap`, norms averaged and the format chosen (columns `chosen`), with a "
        "95 % bootstrap interval over extractions: of one there may be several stops in a "
        f"bin. The paper has 20 models per bin and .88 at .78. {data.setting}.",
        {"recovery": summary, "recovery_models": table},
        {"fig6_right_recovery": figures.fig6_recovery(table, data.alpha)},
        SectionNumbers(recovery=rows_of(RecoveryBin, summary)),
    )


def binned(models: pd.DataFrame) -> pd.DataFrame:
    """A row per bin of the recovery rate that holds a model, from `recovery_bin` up to below `recovery_to`."""
    known = models.dropna(subset=["recovery"])
    placed = known.assign(place=figures.recovery_bin(known["recovery"].to_numpy(float))).sort_values(
        "place", kind="stable"
    )
    numbers = ["similarity", "similarity_chosen", "p_value_chosen"]
    summary = over_models(placed, ["place"], numbers, numbers[:2])
    summary["extractions"] = placed.groupby("place", sort=False)["base"].nunique().to_numpy()
    edges = [math.nan, *figures.RECOVERY_EDGES.tolist(), math.nan]  # the first bin is number 0, what is below it -1
    place = summary.pop("place")
    summary.insert(0, "recovery_bin", [edges[i + 1] for i in place])
    summary.insert(1, "recovery_to", [edges[i + 2] for i in place])
    return summary
