"""The files of a report: figures, tables, JSON. From scored draws to what the figure functions take."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from uapfp_dist.pipeline.judging import GROUPS, Panelists, model_scores
from uapfp_dist.pipeline.report import Report, group_scores, summary
from uapfp_dist.science import figures
from uapfp_dist.science.fingerprint.panel import Panel
from uapfp_dist.science.fingerprint.probe import PAPER, block_name, perturbed
from uapfp_dist.science.scoring import ScoredDraw
from uapfp_dist.science.verdict import needed_for
from uapfp_dist.types import Probe

SHOWN_IMAGES = 6
TSNE_MODELS = 5


def write_files(
    folder: Path,
    report: Report,
    panelists: Panelists,
    draws: Sequence[ScoredDraw],
    panel: Panel,
    probe: Probe,
) -> None:
    """Lay report.json, summary.txt, tables/*.csv and figures/*.png under `folder`."""
    (folder / "tables").mkdir()
    (folder / "figures").mkdir()
    (folder / "report.json").write_text(json.dumps(report.body, indent=1))
    (folder / "summary.txt").write_text(summary(report.body) + "\n")
    for name, table in report.tables.items():
        table.to_csv(folder / "tables" / f"{name}.csv", index=False)
    for name, figure in make_figures(report, panelists, draws, panel, probe).items():
        figure.savefig(folder / "figures" / f"{name}.png")


def make_figures(
    report: Report, panelists: Panelists, draws: Sequence[ScoredDraw], panel: Panel, probe: Probe
) -> dict[str, Figure]:
    """All figures by file name."""
    method = "uap_paper" if "uap_paper" in draws[0].methods else "uap"
    alpha = report.body["false_accusation"]["alpha"]
    shown = ("uap", "weighted_errors")
    groups = {m: group_scores(draws[0], panelists, m) for m in shown}
    thresholds = {m: claim_threshold(groups[m], alpha) for m in shown}
    return {
        "fig5_similarity_cdf": figures.similarity_cdf(
            cdf_data(draws, panelists, method),
            f"fingerprint similarity to the victim ({method}, probabilities)",
        ),
        "roc": figures.roc_curves(*roc_data(draws, panelists, report)),
        "groups": figures.group_strips(groups, thresholds),
        "auc": figures.auc_bars(auc_data(report)),
        "fig3_tsne": figures.tsne(tsne_data(draws[0], panel)),
        "uap": uap_figure(panel, probe),
    }


def claim_threshold(groups: Mapping[str, Sequence[float]], alpha: float) -> float | None:
    """The score a suspect must exceed for a claim, whichever group asks for most; None if no score would do."""
    calibrating = [groups[name] for name in ("calibration", "calibration_piracy") if name in groups]
    highest = []
    for scores in calibrating:
        if len(scores) >= needed_for(alpha):
            may_exceed = int(alpha * (len(scores) + 1) + 1e-9) - 1
            highest.append(sorted(scores, reverse=True)[may_exceed])
    return max(highest, default=None)


def cdf_data(draws: Sequence[ScoredDraw], panelists: Panelists, method: str) -> dict[str, dict[str, np.ndarray]]:
    """Architecture to role to similarities of all test fingerprints of all draws."""
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    for d in draws:
        scored = d.chosen(method, "prob") or d.chosen(method)
        assert scored is not None
        for row in d.draw.tested(panelists.members, "piracy", "homologous"):
            member = panelists.members[row]
            roles = found.setdefault(member.spec.architecture, {})
            roles.setdefault(member.role, []).append(scored.scores[row].numpy())
    return {a: {role: np.concatenate(v) for role, v in sorted(roles.items())} for a, roles in found.items()}


def roc_data(
    draws: Sequence[ScoredDraw], panelists: Panelists, report: Report
) -> tuple[dict[str, list[tuple[np.ndarray, np.ndarray]]], dict[str, float]]:
    """Method to the scores of piracy and homologous test models of every draw; and its AUC."""
    curves: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for method in draws[0].methods:
        for d in draws:
            scored = d.chosen(method)
            if scored is not None:
                scores = np.array(model_scores(scored))
                sides = (scores[d.draw.tested(panelists.members, role)] for role in ("piracy", "homologous"))
                curves.setdefault(method, []).append(tuple(sides))  # type: ignore[arg-type]
    return curves, {method: report.body["auc"][method]["chosen"]["homologous"] for method in curves}


def auc_data(report: Report) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Method to group to (mean, low, high); groups without models are left out."""
    detail = report.body["auc_detail"]
    groups = [g for g in GROUPS if detail["uap"]["chosen"][g]["mean"] is not None]
    return {
        method: {g: tuple(formats["chosen"][g][k] for k in ("mean", "low", "high")) for g in groups}
        for method, formats in detail.items()
    }  # type: ignore[misc]


def tsne_data(first: ScoredDraw, panel: Panel) -> dict[str, tuple[np.ndarray, list[str]]]:
    """t-SNE of the test fingerprints (probabilities) of the victim and a few models of each type."""
    piracy = first.draw.tested(panel.members, "piracy")[:TSNE_MODELS]
    homologous = first.draw.tested(panel.members, "homologous")[:TSNE_MODELS]
    rows = [0, *piracy, *homologous]
    roles = [panel.members[row].role for row in rows for _ in range(panel.n_test_views)]
    found = {}
    fraction = panel.fractions[-1]  # one norm for both panels
    for title, perturbation in (("UAP fingerprints", "uap"), ("local perturbation fingerprints", "lap")):
        flat = (
            panel.fingerprints(rows, block_name(perturbation, fraction), "prob", panel.n_test_views)
            .flatten(0, 1)
            .numpy()
        )
        with threadpool_limits(1):
            # PCA as a start draws no random numbers
            points = TSNE(perplexity=min(30.0, len(flat) / 4), init="pca", random_state=0).fit_transform(flat)
        found[title] = (points, roles)
    return found


def uap_figure(panel: Panel, probe: Probe) -> Figure:
    """v and the first points, with the victim's labels before and after."""
    index, sent = panel.views[0, :SHOWN_IMAGES], panel.gather[PAPER][0, :SHOWN_IMAGES]
    before = panel.answers[0].blocks["clean"][index].argmax(1).tolist()
    after = panel.answers[0].blocks[PAPER][sent].argmax(1).tolist()
    captions = [f"x + v: {a} to {b}" if a != b else f"x + v: stays {a}" for a, b in zip(before, after, strict=True)]
    moved = perturbed(probe, PAPER)[sent].numpy()
    v = probe.blocks[PAPER].perturbations[0].numpy()
    return figures.perturbed_images(v, probe.points[index].numpy(), moved, captions)
