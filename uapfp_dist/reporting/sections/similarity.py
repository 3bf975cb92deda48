"""Tables 1 to 3 and figures 3, 5 and 7: the zoo, and how similar its models' fingerprints are to the victim's."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from uapfp_dist.fingerprints.blocks import LAP_PAPER, PAPER
from uapfp_dist.models.cnn import TABLE_1
from uapfp_dist.reporting import figures, paper
from uapfp_dist.reporting.sections.intervals import interval, with_interval
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.response_format import PROBABILITIES, ResponseFormat

TSNE_MODELS = 4
"""Models of each type in the t-SNE."""


def zoo(evidence: ReportData) -> ReportSection:
    """Table 1: architectures and what became of them."""
    rows = []
    members = [m for m in evidence.panelists.members if m.role in ("victim", "piracy", "homologous")]
    for architecture in sorted({m.spec.architecture for m in members}):
        mine = [m for m in members if m.spec.architecture == architecture]
        row: dict[str, object] = {"architecture": architecture}
        if architecture in TABLE_1:
            spec = TABLE_1[architecture]
            row |= {
                "activation": spec.activation.__name__,
                "dropout": spec.dropout,
                "kernel": spec.kernel,
                "convolutions": spec.n_convolutions,
            }
        row["optimizers"] = ", ".join(sorted({m.spec.recipe.optimizer for m in mine}))
        row["batch sizes"] = ", ".join(map(str, sorted({m.spec.recipe.batch_size for m in mine})))
        for role in ("victim", "piracy", "homologous"):
            accuracy = [evidence.cards[m.spec.id]["accuracy"] for m in mine if m.role == role]
            row[f"{role} models"] = len(accuracy)
            row[f"{role} accuracy"] = float(np.mean(accuracy)) if accuracy else None
        recoveries = [evidence.cards[m.spec.id]["recovery"] for m in mine if m.role == "piracy"]
        row["recovery"] = float(np.mean(recoveries)) if recoveries else None
        rows.append(row)
    recovery = [evidence.cards[m.spec.id]["recovery"] for m in members if m.role == "piracy"]
    mean = float(np.mean(recovery)) if recovery else None
    body = with_interval("mean_recovery", mean, interval(recovery))
    text = (
        f"The zoo. Accuracy on EVAL; recovery is the accuracy of a piracy model over the victim's. {evidence.setting}."
    )
    return ReportSection("table1_zoo", "Table 1: the zoo", text, {"table1_zoo": pd.DataFrame(rows)}, {}, {"zoo": body})


def tables_2_3(evidence: ReportData) -> ReportSection:
    """Similarity by architecture (and optimizer), the paper's beside ours, ours with an interval over models."""
    ours = _by_cell(evidence)
    published = paper.table(evidence.plan.data.name)
    number = "2" if evidence.plan.data.name == "fashion_mnist" else "3"
    zero = _exactly_zero(evidence)
    zeros = (
        ", ".join(f"{share:.1%} of the {role} fingerprints" for role, share in zero.items())
        or "none, since none was tested"
    )
    shown = {"table_similarity": ours}
    drawn = {}
    if published is not None:
        keys = ["architecture", "optimizer"] if published["optimizer"].notna().all() else ["architecture"]
        columns = [*keys, *(c for c in published.columns if c.startswith(("piracy_", "homologous_")))]
        shown["table_similarity"] = ours.merge(published[columns], on=keys, how="left", suffixes=("", "_paper"))
        drawn = {"table_vs_paper": figures.table_vs_paper(ours, published)}
    return ReportSection(
        "table2_similarity",
        f"Table {number}: similarity of fingerprints" if published is not None else "Similarity of fingerprints",
        "Mean and standard deviation over all fingerprints of all test models, and the paper's t-test p, for one UAP "
        "of the paper's norm on probabilities; `low` and `high` are a 95 % bootstrap interval of the mean over models. "
        f"Similarity is exactly 0 for {zeros}. {evidence.setting}.",
        shown,
        drawn,
        {
            "similarity_by_architecture": ours.to_dict("records"),
            "similarity_gaps": _gaps(ours, evidence.fingerprints),
            "paper_t_test": _t_test(evidence),
            "exactly_zero": zero,
        },
    )


def _by_cell(evidence: ReportData) -> pd.DataFrame:
    rows: dict[tuple[str, str], dict[str, object]] = {}
    for key, cell in evidence.fingerprints.groupby(["architecture", "optimizer", "role"]):
        architecture, optimizer, role = map(str, key)
        row = rows.setdefault((architecture, optimizer), {"architecture": architecture, "optimizer": optimizer})
        models = _views_by_model(cell)
        values = np.concatenate(models)
        low, high = interval([float(views.mean()) for views in models])
        row |= {
            f"{role}_mean": float(values.mean()),
            f"{role}_low": low,
            f"{role}_high": high,
            f"{role}_std": float(values.std()),
            f"{role}_p": float(cell["p"].mean()),
            f"{role}_models": len(models),
        }
    return pd.DataFrame(list(rows.values()))


def _views_by_model(fingerprints: pd.DataFrame) -> list[np.ndarray]:
    """Each model's similarities, of all draws in which it was tested."""
    return [np.concatenate(views.tolist()) for _, views in fingerprints.groupby("model", sort=False)["views"]]


def _gaps(table: pd.DataFrame, fingerprints: pd.DataFrame) -> dict[str, float | None]:
    """The paper's largest and smallest gap, with an interval over the models of the two cells that make it."""
    if not {"piracy_mean", "homologous_mean"} <= set(table.columns):
        return {}

    def models(role: str, place: Any) -> list[float]:
        cell = (fingerprints[["architecture", "optimizer"]] == table.loc[place, ["architecture", "optimizer"]]).all(1)
        return [float(v.mean()) for v in _views_by_model(fingerprints[cell & (fingerprints["role"] == role)])]

    piracy, homologous = table["piracy_mean"], table["homologous_mean"]
    largest, smallest = paper.gaps(table)
    most = interval(models("piracy", piracy.idxmax()), models("homologous", homologous.idxmin()), of=np.subtract)
    least = interval(models("piracy", piracy.idxmin()), models("homologous", homologous.idxmax()), of=np.subtract)
    return with_interval("largest", largest, most) | with_interval("smallest", smallest, least)


def _t_test(evidence: ReportData) -> dict[str, float | None]:
    """Share of (model, draw) pairs that the paper's t-test rejects at alpha, by role, with an interval over models."""
    found: dict[str, float | None] = {}
    for role, rows in evidence.fingerprints.groupby("role"):
        rejected = (rows["p"] <= evidence.alpha).astype(float)
        per_model = rejected.groupby(rows["model"], sort=False).mean()
        found |= with_interval(str(role), float(rejected.mean()), interval(per_model.tolist()))
    return found


def _exactly_zero(evidence: ReportData) -> dict[str, float]:
    """Share of test fingerprints of similarity 0, by role.

    Their embedding shares no unit with the victim's, or is all zero: that has no cosine and is scored 0 (protocol 2.1).
    """
    return {
        str(role): float((np.concatenate(rows["views"].tolist()) == 0.0).mean())
        for role, rows in evidence.fingerprints.groupby("role")
    }


def _fingerprints_by(evidence: ReportData, method: str, fmt: ResponseFormat) -> dict[str, dict[str, np.ndarray]]:
    """Architecture to role to similarities of all test fingerprints of all draws."""
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    members = evidence.panelists.members
    for d in evidence.draws:
        scored = d.chosen(method, fmt) or d.chosen(method)
        if scored is None:
            continue
        for row in d.draw.tested(members, "piracy", "homologous"):
            roles = found.setdefault(members[row].spec.architecture, {})
            roles.setdefault(members[row].role, []).append(scored.scores[row].numpy())
    return {a: {role: np.concatenate(v) for role, v in sorted(roles.items())} for a, roles in found.items()}


def cdfs(evidence: ReportData) -> ReportSection:
    """Figure 5."""
    method = "uap_paper" if "uap_paper" in evidence.draws[0].methods else "uap"
    data = _fingerprints_by(evidence, method, PROBABILITIES)
    body = {
        a: {
            "piracy_above_.8": float((roles["piracy"] > 0.8).mean()) if "piracy" in roles else None,
            "homologous_above_.4": float((roles["homologous"] > 0.4).mean()) if "homologous" in roles else None,
        }
        for a, roles in data.items()
    }
    shares: dict[str, float | None] = {}
    for role, level in (("piracy", 0.8), ("homologous", 0.4)):
        models = _views_by_model(evidence.fingerprints[evidence.fingerprints["role"] == role])
        if models:
            above = [float((views > level).mean()) for views in models]
            share = float((np.concatenate(models) > level).mean())
            shares |= with_interval(f"{role}_above_{level:g}".replace("0.", "."), share, interval(above))
    return ReportSection(
        "fig5_similarity_cdf",
        "Figure 5: distribution of fingerprint similarity",
        "Cumulative share of the test fingerprints of all draws, in bins of .1, by architecture. The paper, on "
        f"CIFAR-10: all piracy above .8, at most 20 % of homologous above .4. {evidence.setting}.",
        {},
        {"fig5_similarity_cdf": figures.similarity_cdf(data, f"similarity to the victim ({method}, probabilities)")},
        {"cdf": body, "cdf_all": shares},
    )


def perturbations(evidence: ReportData) -> ReportSection | None:
    """Figure 7: universal beside local perturbations."""
    names = {
        "uap_paper": "UAP at xi",
        "lap_paper": "LAP at xi",
        "random_paper": "random vector at xi",
        "lap_minimal": "LAP, minimal",
    }
    data, rows = {}, []
    for method, name in names.items():
        if method in evidence.draws[0].methods:
            by_architecture = _fingerprints_by(evidence, method, PROBABILITIES)
            area = evidence.report["auc_detail"].get(method, {}).get("prob", {}).get("homologous")
            if area is not None:
                bounds = (area["low"], area["high"])
                rows.append({"perturbation": name, "method": method, **with_interval("auc", area["mean"], bounds)})
            data[name] = {
                role: np.concatenate([roles[role] for roles in by_architecture.values() if role in roles])
                for role in ("piracy", "homologous")
                if any(role in roles for roles in by_architecture.values())
            }
    if not any(name.startswith("LAP") for name in data):
        return None
    return ReportSection(
        "fig7_uap_vs_lap",
        "Figure 7: universal against local perturbations",
        "LAP is DeepFool on the victim for each point, rescaled to the norm of the UAP, xi, or as it comes. One "
        "encoder of probabilities each. All test fingerprints of all draws; AUC against homologous models. "
        f"{evidence.setting}.",
        {"fig7_uap_vs_lap": pd.DataFrame(rows)},
        {"fig7_uap_vs_lap": figures.fig7_uap_vs_lap(data)},
    )


def place_of(fractions: Sequence[float]) -> str:
    """At which norms a row of several stands, in units of the paper's xi, and that its encoders are then averaged."""
    norms = " and ".join(f"{fraction:g}".replace("0.", ".") for fraction in fractions)
    return f"at {norms} xi" + (", averaged" if len(fractions) > 1 else "")


def embedding(evidence: ReportData) -> ReportSection:
    """Figure 3: t-SNE of the test fingerprints (probabilities) of the victim and a few models of each type."""
    panel, draw = evidence.panel, evidence.draws[0].draw
    piracy = draw.tested(panel.members, "piracy")[:TSNE_MODELS]
    homologous = draw.tested(panel.members, "homologous")[:TSNE_MODELS]
    rows = [0, *piracy, *homologous]
    roles = [panel.members[row].role for row in rows for _ in range(panel.n_test_views)]
    found = {}
    for title, block in (("UAP fingerprints", PAPER), ("local perturbation fingerprints", LAP_PAPER)):
        prints = panel.fingerprints(rows, block, PROBABILITIES, panel.n_test_views)
        flat = prints.flatten(0, 1).numpy()
        with threadpool_limits(1):
            # PCA as a start draws no random numbers
            points = TSNE(perplexity=min(30.0, len(flat) / 4), init="pca", random_state=0).fit_transform(flat)
        found[title] = (points, roles)
    return ReportSection(
        "fig3_tsne",
        "Figure 3: t-SNE of fingerprints",
        f"Test fingerprints of the victim and of {len(piracy)} piracy and {len(homologous)} homologous test models of "
        f"draw 0, universal beside local perturbations of the paper's norm. {evidence.setting}.",
        {},
        {"fig3_tsne": figures.tsne(found)},
    )
