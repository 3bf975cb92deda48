"""Tables 2, 3: how similar the models' fingerprints are to the victim's."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from uapfp_dist.reporting import figures, paper
from uapfp_dist.reporting.section_schema import SectionNumbers, SimilarityCell, SimilarityGaps, TTestRates, rows_of
from uapfp_dist.reporting.sections.intervals import interval, with_interval
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.reporting.sections.similarities import views_by_model
from uapfp_dist.statistics.t_test import T_TEST_FINGERPRINTS


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
        # Named here: where a role was not tested, `merge` would leave the paper's numbers under the names of ours.
        names = {c: f"{c}_paper" for c in published.columns if c.startswith(("piracy_", "homologous_"))}
        theirs = published[[*keys, *names]].rename(columns=names)
        shown["table_similarity"] = ours.merge(theirs, on=keys, how="left")
        drawn = {"table_vs_paper": figures.table_vs_paper(ours, published)}
    return ReportSection(
        "table2_similarity",
        f"Table {number}: similarity of fingerprints" if published is not None else "Similarity of fingerprints",
        "Mean and standard deviation over all fingerprints of all test models, and the paper's t-test p, for "
        f"{data.paper_scoring.words}; `low` and `high` are a 95 % bootstrap interval of the mean over models. "
        f"{_repeats(data)}Similarity is exactly 0 for {zeros}. {data.setting}.",
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
        models = views_by_model(cell)
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
    return pd.DataFrame(list(rows.values()) or {"architecture": [], "optimizer": []})


def _gaps(table: pd.DataFrame, fingerprints: pd.DataFrame) -> SimilarityGaps:
    """The paper's largest and smallest gap, with an interval over the models of the two cells that make it."""
    if not {"piracy_mean", "homologous_mean"} <= set(table.columns):
        return SimilarityGaps()

    def models(role: str, place: Any) -> list[float]:
        cell = (fingerprints[["architecture", "optimizer"]] == table.loc[place, ["architecture", "optimizer"]]).all(1)
        return [float(v.mean()) for v in views_by_model(fingerprints[cell & (fingerprints["role"] == role)])]

    piracy, homologous = table["piracy_mean"], table["homologous_mean"]
    largest, smallest = paper.gaps(table)
    most = interval(models("piracy", piracy.idxmax()), models("homologous", homologous.idxmin()), of=np.subtract)
    least = interval(models("piracy", piracy.idxmin()), models("homologous", homologous.idxmax()), of=np.subtract)
    return SimilarityGaps(**with_interval("largest", largest, most), **with_interval("smallest", smallest, least))


def _repeats(data: ReportData) -> str:
    """What varies over the repeats of the t-test."""
    n = data.plan.config.fingerprint.n_test_views
    if n > T_TEST_FINGERPRINTS:
        return ""
    return f"All {n} fingerprints of a suspect enter each repeat of the t-test: only the independent side varies. "


def _t_test(data: ReportData) -> TTestRates:
    """Share of (model, resample) pairs that the paper's t-test rejects at alpha, by role."""
    found: dict[str, float] = {}
    for role, rows in data.fingerprints.groupby("role"):
        rejected = (rows["p"] <= data.alpha).astype(float)
        per_model = rejected.groupby(rows["model"], sort=False).mean()
        found |= with_interval(str(role), float(rejected.mean()), interval(per_model.tolist(), shares=True))
    return TTestRates(**found)


def _exactly_zero(data: ReportData) -> dict[str, float]:
    """Share of test fingerprints of similarity 0, by role.

    Their embedding shares no unit with the victim's, or is all zero: that has no cosine and is scored 0 (protocol 2.1).
    """
    return {
        str(role): float((np.concatenate(rows["views"].tolist()) == 0.0).mean())
        for role, rows in data.fingerprints.groupby("role")
    }
