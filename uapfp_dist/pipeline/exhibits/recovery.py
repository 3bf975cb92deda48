"""Figure 6 right, and the overlap of training sets: similarity against how much of the victim a model has."""

import pandas as pd

from uapfp_dist.pipeline.exhibits.evidence import Evidence, Exhibit
from uapfp_dist.science import figures
from uapfp_dist.specs import Trained


def recovery(evidence: Evidence) -> Exhibit | None:
    """Figure 6 right: models in the middle of their extraction."""
    models = evidence.per_model(evidence.paper)
    if "checkpoint_piracy" not in set(models["role"]):
        return None
    chosen = evidence.per_model(evidence.chosen)[["model", "similarity", "p_value", "accused"]]
    shown = models[models["role"].isin(("checkpoint_piracy", "homologous"))]
    table = shown.merge(chosen, on="model", suffixes=("", "_chosen"))
    table = table.assign(role=table["role"].replace("checkpoint_piracy", "piracy"))
    ours = table[table["role"] == "piracy"]
    bins = (ours["recovery"] * 50).round() / 50
    summary = ours.groupby(bins.rename("recovery_bin"))[["similarity", "similarity_chosen", "p_value_chosen"]].mean()
    summary["models"] = ours.groupby(bins.rename("recovery_bin")).size()
    return Exhibit(
        "fig6_recovery",
        "Figure 6 right: similarity against recovery rate",
        "Substitutes at the first moment of each recovery rate in an extraction of the victim, in bins of .02. The "
        f"paper has 20 models per bin and .88 at .78. {evidence.setting}.",
        {"recovery": summary.reset_index(), "recovery_models": table},
        {"fig6_right_recovery": figures.fig6_recovery(table, evidence.alpha)},
        {"recovery": summary.reset_index().to_dict("records")},
    )


def overlap(evidence: Evidence) -> Exhibit | None:
    """The supplement's ablation: how similar are homologous models that share more of D_v."""
    members = {m.spec.id: m for m in evidence.panelists.members}
    rows = []
    for method, frame in (("uap_paper", evidence.paper), ("uap", evidence.chosen)):
        models = evidence.per_model(frame)
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
    table = pd.DataFrame(rows)
    summary = table.groupby(["method", "overlap"]).mean().reset_index()
    return Exhibit(
        "overlap",
        "Overlap of D_homo and D_v (supplement)",
        "Homologous models whose training set shares a chosen part of the victim's. `auc` is the share of piracy "
        f"models that score higher. The paper's values are unknown. {evidence.setting}.",
        {"overlap": summary},
        {
            "overlap": figures.ablation_lines(
                table, "overlap", ("similarity", "auc"), "method", "share of D_homo in D_v"
            )
        },
        {"overlap": summary.to_dict("records")},
    )
