"""Figure 6 left and the supplement's ablations of the encoder: retrained per setting, on stored answers."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from torch import Tensor

from uapfp_dist.concurrency import map_threads
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.encoder_trial import Setting, mean_confidence, over_resamples, stored_trial
from uapfp_dist.execution.probe_artifacts import read_probe, read_responses
from uapfp_dist.fingerprints.blocks import CLEAN, PAPER, UAP, BlockKey
from uapfp_dist.fingerprints.resamples import Resample, TrainingSet, make_resample
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat


def n_points(evidence: ReportData) -> ReportSection | None:
    """Figure 6 left: the gap against the number of points."""
    most = evidence.panel.views.shape[1]
    values = sorted({n for n in evidence.plan.config.studies.n_points if n < most} | {most})
    table = _sweep(evidence, "n_points", {n: Setting(_block(evidence), n_points=n) for n in values})
    if table is None:
        return None
    return ReportSection(
        "fig6_n_points",
        "Figure 6 left: number of points",
        f"`uap` ({_block(evidence)}, probabilities), the encoder retrained for each number. The paper: a plateau from "
        f"70. {_setting(evidence)}",
        {"n_points": table},
        {"fig6_left_n_points": figures.fig6_n_points(table)},
        {"n_points": _keyed(table, "n_points")},
    )


def top_k(evidence: ReportData) -> ReportSection | None:
    """Figure 6 left: the gap against the number of confidences a suspect returns; 0 is the bare label."""
    n_classes = evidence.panel.answers[0].blocks[CLEAN].shape[1]
    ks = [k for k in evidence.plan.config.studies.top_k if k < n_classes]
    settings = {0: Setting(_block(evidence), LABEL)}
    settings |= {k: Setting(_block(evidence), ResponseFormat(k)) for k in ks}
    settings[n_classes] = Setting(_block(evidence), PROBABILITIES)
    table = _sweep(evidence, "top_k", settings)
    if table is None:
        return None
    confidence = {k: mean_confidence(evidence.panel, k) for k in [*ks, n_classes]}
    return ReportSection(
        "fig6_top_k",
        "Figure 6 left: number of confidences",
        f"`uap` ({_block(evidence)}), the encoder retrained for each k; 0 is the bare label, values outside the top k "
        f"count as 0. The paper: holds at 1, stable from 3, sum of the top 3 there .9996. {_setting(evidence)}",
        {"top_k": table.assign(confidence=lambda t: t["top_k"].map(confidence))},
        {"fig6_left_top_k": figures.fig6_top_k(table, confidence)},
        {"top_k": _keyed(table, "top_k"), "confidence": {str(k): v for k, v in confidence.items()}},
    )


def n_views(evidence: ReportData) -> ReportSection | None:
    """The supplement: how many views an encoder needs to learn from."""
    most = evidence.panel.views.shape[0]
    values = sorted({n for n in evidence.plan.config.studies.n_views if n < most} | {most})
    table = _sweep(evidence, "n_views", {n: Setting(_block(evidence), n_views=n) for n in values})
    if table is None:
        return None
    drawn = figures.ablation_lines(table, "n_views", ("auc", "gap"), x_label="views per training model")
    return ReportSection(
        "views",
        "Number of views (supplement)",
        f"Views that the encoder learns from; suspects are tested by the same views throughout. {_setting(evidence)}",
        {"n_views": table},
        {"n_views": drawn},
        {"n_views": _keyed(table, "n_views")},
    )


def losses(evidence: ReportData) -> ReportSection | None:
    """The supplement: the contrastive loss against plain encoders."""
    settings = {loss: Setting(_block(evidence), loss=loss) for loss in ("supcon", "cross_entropy", "autoencoder")}  # type: ignore[arg-type]
    table = _sweep(evidence, "loss", settings)
    if table is None:
        return None
    return ReportSection(
        "loss",
        "Contrastive loss against plain encoders (supplement)",
        "Same architecture, steps and similarity; cross_entropy tells the classes apart by a linear head, autoencoder "
        f"learns without labels. {_setting(evidence)}",
        {"loss": table},
        {"loss": figures.ablation_bars(table, "loss", ("auc", "gap"))},
        {"loss": _keyed(table, "loss")},
    )


def view_algorithms(evidence: ReportData) -> ReportSection | None:
    """Views of Section 4.3 against Algorithm 1, with equally many views to learn from."""
    plan = evidence.plan
    if plan.second_probe is None:
        return None
    try:
        second, rows = _second_panel(evidence)
    except UserError as error:
        remark = f"Algorithm 1 could not be tried: {error}"
        return ReportSection("view_algorithms", "Views by Algorithm 1 (supplement)", remark, remarks=(remark,))
    n = evidence.panel.n_test_views
    draws = [_within(d.draw, rows) for d in evidence.draws[: plan.config.studies.n_resamples]]
    neighbours = _sweep(evidence, "views", {"Section 4.3": Setting(PAPER, n_views=n)}, always=True)
    whole = _sweep(evidence, "views", {"Algorithm 1": Setting(PAPER, n_views=n)}, second, draws, always=True)
    table = pd.concat([neighbours, whole])
    return ReportSection(
        "view_algorithms",
        "Views by Algorithm 1 and by Section 4.3 (supplement)",
        f"One UAP of the paper's norm, {n} views to learn from: neighbours of each cluster's point against any point "
        f"of the whole cluster. {_setting(evidence)}",
        {"view_algorithms": table},
        {"view_algorithms": figures.ablation_bars(table, "views", ("auc", "gap"))},
        {"view_algorithms": _keyed(table, "views")},
    )


def one_architecture(evidence: ReportData) -> ReportSection | None:
    """The paper's way: the encoder learns from models of one architecture (protocol 2.12, row `paper`)."""
    config, panel = evidence.plan.config.verdict, evidence.panel
    if not evidence.plan.config.studies.sweeps:
        return None
    architecture = evidence.plan.config.zoo.architectures[0]
    seed = f"{evidence.plan.seed}/{architecture}"
    n_draws = evidence.plan.config.studies.n_resamples
    try:
        draws = [
            make_resample(panel.members, i, config.n_train, config.n_calibrate, seed, architecture, evidence.pool)
            for i in range(n_draws)
        ]
    except UserError as error:
        remark = f"row `paper` could not be made: {error}"
        return ReportSection("paper_row", "The paper's encoder", remark, remarks=(remark,))
    name = f"learns from {architecture} alone"
    alone = _sweep(evidence, "encoder", {name: Setting(PAPER)}, draws=draws, always=True)
    mixed = _sweep(evidence, "encoder", {"learns from all architectures": Setting(PAPER)}, always=True)
    table = pd.concat([mixed, alone])
    return ReportSection(
        "paper_row",
        "The paper's encoder: one architecture to learn from",
        f"Row `paper` of the protocol: the encoder's models are all of architecture {architecture}, all others are "
        f"tested; one UAP of the paper's norm, probabilities. {_setting(evidence)}",
        {"paper_row": table},
        {"paper_row": figures.ablation_bars(table, "encoder", ("auc", "gap"))},
        {"paper_row": _keyed(table, "encoder")},
    )


def _block(evidence: ReportData) -> BlockKey:
    """The block of UAPs that the sweeps use: fixed by the configuration, so that no test model has a say in it."""
    return BlockKey(UAP, max(evidence.plan.config.uap.xi_fractions))


def _setting(evidence: ReportData) -> str:
    return (
        f"Means over {evidence.plan.config.studies.n_resamples} draws, test models, with 95 % bootstrap intervals over "
        f"models. {evidence.setting}."
    )


def _sweep(
    evidence: ReportData,
    column: str,
    settings: Mapping[Any, Setting],
    panel: ResponseMatrix | None = None,
    draws: Sequence[Resample] | None = None,
    *,
    always: bool = False,
) -> pd.DataFrame | None:
    """A row per setting: `over_draws`; None where sweeps were not asked for."""
    studies, plan = evidence.plan.config.studies, evidence.plan
    if not (studies.sweeps or always):
        return None
    shown = panel or evidence.panel
    chosen = draws or [d.draw for d in evidence.draws[: studies.n_resamples]]
    work = [(setting, draw) for setting in settings.values() for draw in chosen]

    def one(item: tuple[Setting, Resample]) -> tuple[Resample, Tensor]:
        setting, draw = item
        seed = f"{plan.probe.id}/{draw.index}"
        return draw, stored_trial(evidence.store, shown, draw, setting, plan.config.encoder, seed)

    scored = list(map_threads(one, work, evidence.threads))
    n = len(chosen)
    return pd.DataFrame(
        [{column: value, **over_resamples(shown, scored[i * n :][:n])} for i, value in enumerate(settings)]
    )


def _second_panel(evidence: ReportData) -> tuple[ResponseMatrix, list[int]]:
    """The models that answered the second probe, and their rows in the first panel."""
    plan, store = evidence.plan, evidence.store
    assert plan.second_probe is not None
    if not store.has(plan.second_probe.kind, plan.second_probe.id):
        raise UserError("its probe could not be made (see failures: most likely a cluster with too few points)")
    probe = read_probe(store.get(plan.second_probe.kind, plan.second_probe.id))
    specs = [plan.second_response(member) for member in evidence.panel.members]
    rows = [i for i, spec in enumerate(specs) if spec is not None and store.has(spec.kind, spec.id)]
    if rows[:1] != [0]:
        raise UserError("the victim's answers to its probe are missing (see failures)")
    answers = [read_responses(store.get(spec.kind, spec.id)) for i in rows if (spec := specs[i]) is not None]
    return ResponseMatrix.from_responses(
        [evidence.panel.members[i] for i in rows], answers, probe, plan.second_probe
    ), rows


def _within(draw: Resample, rows: Sequence[int]) -> Resample:
    """The draw in the row numbers of a panel that holds only `rows`; without other-victim piracy, which trains none."""
    place = {row: i for i, row in enumerate(rows)}

    def moved(old: Sequence[int]) -> tuple[int, ...]:
        return tuple(place[row] for row in old if row in place)

    training = TrainingSet(moved(draw.training.piracy), moved(draw.training.homologous))
    return Resample(draw.index, training, moved(draw.calibration), moved(draw.test))


def _keyed(table: pd.DataFrame, column: str) -> dict[str, dict[str, Any]]:
    """Value to means and intervals, as JSON."""
    rows = table.to_dict("records")
    return {str(row[column]): {str(name): row[name] for name in row if name != column} for row in rows}
