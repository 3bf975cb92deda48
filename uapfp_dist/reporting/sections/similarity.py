"""Tables 1 to 3 and figures 3, 5 and 7: the zoo, and how similar its models' fingerprints are to the victim's."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from uapfp_dist.fingerprints.blocks import LAP_PAPER, PAPER
from uapfp_dist.models.cnn import TABLE_1
from uapfp_dist.reporting import figures, paper
from uapfp_dist.reporting.section_schema import (
    SectionNumbers,
    SimilarityCell,
    SimilarityGaps,
    SimilarityShares,
    TTestRates,
    ZooNumbers,
    rows_of,
)
from uapfp_dist.reporting.sections.intervals import interval, with_interval
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.response_format import PROBABILITIES, ResponseFormat
from uapfp_dist.tasks.members import Member

LEVELS = {"piracy": 0.8, "homologous": 0.4}
"""Similarities that Figure 5 counts fingerprints above."""
TSNE_MODELS = 4
"""Models of each type in the t-SNE."""


def zoo(data: ReportData) -> ReportSection:
    """Table 1: architectures and what became of them."""
    rows = []
    members = [m for m in data.judged.members if m.role in ("victim", "piracy", "homologous")]
    for architecture in sorted({m.spec.architecture for m in members}):
        mine = [m for m in members if m.spec.architecture == architecture]
        row: dict[str, str | float] = {"architecture": architecture}
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
            accuracy = [data.cards[m.spec.id].accuracy for m in mine if m.role == role]
            row[f"{role} models"] = len(accuracy)
            row[f"{role} accuracy"] = _mean(accuracy)
        row["recovery"] = _mean(_recoveries(data, mine))
        rows.append(row)
    recovery = _recoveries(data, members)
    numbers = ZooNumbers(**with_interval("mean_recovery", _mean(recovery), interval(recovery)))
    text = f"The zoo. Accuracy on EVAL; recovery is the accuracy of a piracy model over the victim's. {data.setting}."
    shown = {"table1_zoo": pd.DataFrame(rows)}
    return ReportSection("table1_zoo", "Table 1: the zoo", text, shown, {}, SectionNumbers(zoo=numbers))


def _recoveries(data: ReportData, members: Sequence[Member]) -> list[float]:
    """Of the piracy models."""
    cards = [data.cards[m.spec.id] for m in members if m.role == "piracy"]
    return [card.recovery for card in cards if card.recovery is not None]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def tables_2_3(data: ReportData) -> ReportSection:
    """Similarity by architecture (and optimizer), the paper's beside ours, ours with an interval over models."""
    ours = _by_cell(data)
    published = paper.table(data.plan.data.name)
    number = "2" if data.plan.data.name == "fashion_mnist" else "3"
    zero = _exactly_zero(data)
    zeros = (
        ", ".join(f"{share:.1%} of the {role} fingerprints" for role, share in zero.items())
        or "none, since none was tested"
    )
    shown = {"table_similarity": ours}
    drawn: dict[str, Figure] = {}
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
        f"Similarity is exactly 0 for {zeros}. {data.setting}.",
        shown,
        drawn,
        SectionNumbers(
            similarity_by_architecture=rows_of(SimilarityCell, ours),
            similarity_gaps=_gaps(ours, data.fingerprints),
            paper_t_test=_t_test(data),
            exactly_zero=zero,
        ),
    )


def _by_cell(data: ReportData) -> pd.DataFrame:
    rows: dict[tuple[str, str], dict[str, str | float]] = {}
    for key, cell in data.fingerprints.groupby(["architecture", "optimizer", "role"]):
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
    """Each model's similarities, of all resamples in which it was tested."""
    return [np.concatenate(views.tolist()) for _, views in fingerprints.groupby("model", sort=False)["views"]]


def _gaps(table: pd.DataFrame, fingerprints: pd.DataFrame) -> SimilarityGaps:
    """The paper's largest and smallest gap, with an interval over the models of the two cells that make it."""
    if not {"piracy_mean", "homologous_mean"} <= set(table.columns):
        return SimilarityGaps()

    def models(role: str, place: Any) -> list[float]:
        cell = (fingerprints[["architecture", "optimizer"]] == table.loc[place, ["architecture", "optimizer"]]).all(1)
        return [float(v.mean()) for v in _views_by_model(fingerprints[cell & (fingerprints["role"] == role)])]

    piracy, homologous = table["piracy_mean"], table["homologous_mean"]
    largest, smallest = paper.gaps(table)
    most = interval(models("piracy", piracy.idxmax()), models("homologous", homologous.idxmin()), of=np.subtract)
    least = interval(models("piracy", piracy.idxmin()), models("homologous", homologous.idxmax()), of=np.subtract)
    return SimilarityGaps(**with_interval("largest", largest, most), **with_interval("smallest", smallest, least))


def _t_test(data: ReportData) -> TTestRates:
    """Share of (model, resample) pairs that the paper's t-test rejects at alpha, by role."""
    found: dict[str, float] = {}
    for role, rows in data.fingerprints.groupby("role"):
        rejected = (rows["p"] <= data.alpha).astype(float)
        per_model = rejected.groupby(rows["model"], sort=False).mean()
        found |= with_interval(str(role), float(rejected.mean()), interval(per_model.tolist()))
    return TTestRates(**found)


def _exactly_zero(data: ReportData) -> dict[str, float]:
    """Share of test fingerprints of similarity 0, by role.

    Their embedding shares no unit with the victim's, or is all zero: that has no cosine and is scored 0 (protocol 2.1).
    """
    return {
        str(role): float((np.concatenate(rows["views"].tolist()) == 0.0).mean())
        for role, rows in data.fingerprints.groupby("role")
    }


def _fingerprints_by(data: ReportData, method: str, fmt: ResponseFormat) -> dict[str, dict[str, np.ndarray]]:
    """Architecture to role to similarities of all test fingerprints of all resamples."""
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    members = data.judged.members
    for d in data.resamples:
        scored = d.chosen(method, fmt) or d.chosen(method)
        if scored is None:
            continue
        for row in d.resample.tested(members, "piracy", "homologous"):
            roles = found.setdefault(members[row].spec.architecture, {})
            roles.setdefault(members[row].role, []).append(scored.scores[row].numpy())
    return {a: {role: np.concatenate(v) for role, v in sorted(roles.items())} for a, roles in found.items()}


def cdfs(data: ReportData) -> ReportSection:
    """Figure 5."""
    method = "uap_paper" if "uap_paper" in data.resamples[0].methods else "uap"
    similarities = _fingerprints_by(data, method, PROBABILITIES)
    by_architecture = {
        a: SimilarityShares(**{role: _above(level, roles.get(role)) for role, level in LEVELS.items()})
        for a, roles in similarities.items()
    }
    shares: dict[str, float] = {}
    for role, level in LEVELS.items():
        models = _views_by_model(data.fingerprints[data.fingerprints["role"] == role])
        if models:
            above = [_above(level, views) for views in models]
            shares |= with_interval(role, _above(level, np.concatenate(models)), interval(above))
    return ReportSection(
        "fig5_similarity_cdf",
        "Figure 5: distribution of fingerprint similarity",
        "Cumulative share of the test fingerprints of all resamples, in bins of .1, by architecture. The paper, on "
        f"CIFAR-10: all piracy above .8, at most 20 % of homologous above .4. {data.setting}.",
        {},
        {
            "fig5_similarity_cdf": figures.similarity_cdf(
                similarities, f"similarity to the victim ({method}, probabilities)"
            )
        },
        SectionNumbers(cdf=by_architecture, cdf_all=SimilarityShares(**shares)),
    )


def _above(level: float, similarities: np.ndarray | None) -> float:
    """Share above `level`; NaN without any."""
    return math.nan if similarities is None else float((similarities > level).mean())


def perturbations(data: ReportData) -> ReportSection | None:
    """Figure 7: universal beside local perturbations."""
    names = {
        "uap_paper": "UAP at xi",
        "lap_paper": "LAP at xi",
        "random_paper": "random vector at xi",
        "lap_minimal": "LAP, minimal",
    }
    similarities, rows = {}, []
    for method, name in names.items():
        if method in data.resamples[0].methods:
            by_architecture = _fingerprints_by(data, method, PROBABILITIES)
            formats = data.report.auc_detail.get(method, {})
            if PROBABILITIES.wire in formats:
                e = formats[PROBABILITIES.wire]["homologous"]
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
        "encoder of probabilities each. All test fingerprints of all resamples; AUC against homologous models. "
        f"{data.setting}.",
        {"fig7_uap_vs_lap": pd.DataFrame(rows)},
        {"fig7_uap_vs_lap": figures.fig7_uap_vs_lap(similarities)},
    )


def place_of(fractions: Sequence[float]) -> str:
    """At which norms a row of several stands, in units of the paper's xi, and that its encoders are then averaged."""
    norms = " and ".join(f"{fraction:g}".replace("0.", ".") for fraction in fractions)
    return f"at {norms} xi" + (", averaged" if len(fractions) > 1 else "")


def embedding(data: ReportData) -> ReportSection:
    """Figure 3: t-SNE of the test fingerprints (probabilities) of the victim and a few models of each type."""
    matrix, resample = data.matrix, data.resamples[0].resample
    piracy = resample.tested(matrix.members, "piracy")[:TSNE_MODELS]
    homologous = resample.tested(matrix.members, "homologous")[:TSNE_MODELS]
    rows = [0, *piracy, *homologous]
    roles = [matrix.members[row].role for row in rows for _ in range(matrix.n_test_views)]
    found = {}
    for title, block in (("UAP fingerprints", PAPER), ("local perturbation fingerprints", LAP_PAPER)):
        prints = matrix.fingerprints(rows, block, PROBABILITIES, matrix.n_test_views)
        flat = prints.flatten(0, 1).numpy()
        with threadpool_limits(1):
            # PCA as a start draws no random numbers
            points = TSNE(perplexity=min(30.0, len(flat) / 4), init="pca", random_state=0).fit_transform(flat)
        found[title] = (points, roles)
    return ReportSection(
        "fig3_tsne",
        "Figure 3: t-SNE of fingerprints",
        f"Test fingerprints of the victim and of {len(piracy)} piracy and {len(homologous)} homologous test models of "
        f"resample 0, universal beside local perturbations of the paper's norm. {data.setting}.",
        {},
        {"fig3_tsne": figures.tsne(found)},
    )
