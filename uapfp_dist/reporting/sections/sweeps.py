"""Encoders retrained per setting, on stored responses: Figure 6 left, the supplement's ablations."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd
from torch import Tensor

from uapfp_dist.concurrency import map_threads
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.encoder_trial import Setting, mean_confidence, over_resamples, stored_trial
from uapfp_dist.execution.probe_artifacts import read_probe, read_responses
from uapfp_dist.execution.stored import published_ids
from uapfp_dist.fingerprints.blocks import CLEAN, PAPER, UAP, BlockKey
from uapfp_dist.fingerprints.resamples import Resample, TrainingSet, make_resample
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.section_schema import SectionNumbers, SweepNumbers, rows_of
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat


def n_points(data: ReportData) -> ReportSection | None:
    """Figure 6 left: the gap against the number of points."""
    most = data.matrix.views.shape[1]
    values = sorted({n for n in data.plan.config.studies.n_points if n < most} | {most})
    table = _sweep(data, "n_points", {n: replace(_usual(data), n_points=n) for n in values})
    if table is None:
        return None
    return ReportSection(
        "fig6_n_points",
        "Figure 6 left: number of points",
        f"`uap` ({_block(data)}, probabilities), the encoder retrained for each number. The paper: a plateau from "
        f"70. {_setting(data)}",
        {"n_points": table},
        {"fig6_left_n_points": figures.fig6_n_points(table)},
        SectionNumbers(n_points=_keyed(table, "n_points")),
    )


def top_k(data: ReportData) -> ReportSection | None:
    """Figure 6 left: the gap against the number of confidences a suspect returns; 0 is the bare label."""
    n_classes = data.matrix.responses[0].blocks[CLEAN].shape[1]
    ks = [k for k in data.plan.config.studies.top_k if k < n_classes]
    formats = {0: LABEL, **{k: ResponseFormat(k) for k in ks}, n_classes: PROBABILITIES}
    table = _sweep(data, "top_k", {k: replace(_usual(data), format=fmt) for k, fmt in formats.items()})
    if table is None:
        return None
    confidence = {k: mean_confidence(data.matrix, k) for k in [*ks, n_classes]}
    return ReportSection(
        "fig6_top_k",
        "Figure 6 left: number of confidences",
        f"`uap` ({_block(data)}), the encoder retrained for each k; 0 is the bare label, values outside the top k "
        f"count as 0. The paper: works at 1, is stable from 3; the top 3 sum to .9996 there. {_setting(data)}",
        {"top_k": table.assign(confidence=lambda t: t["top_k"].map(confidence))},
        {"fig6_left_top_k": figures.fig6_top_k(table, confidence)},
        SectionNumbers(top_k=_keyed(table, "top_k"), confidence={str(k): v for k, v in confidence.items()}),
    )


def n_views(data: ReportData) -> ReportSection | None:
    """The supplement: how many views an encoder needs to learn from."""
    most = data.matrix.views.shape[0]
    values = sorted({n for n in data.plan.config.studies.n_views if n < most} | {most})
    table = _sweep(data, "n_views", {n: replace(_usual(data), n_views=n) for n in values})
    if table is None:
        return None
    figure = figures.ablation_lines(table, "n_views", ("auc", "gap"), x_label="views per training model")
    return ReportSection(
        "views",
        "Number of views (supplement)",
        f"Views that the encoder learns from; suspects are tested by the same views throughout. {_setting(data)}",
        {"n_views": table},
        {"n_views": figure},
        SectionNumbers(n_views=_keyed(table, "n_views")),
    )


def losses(data: ReportData) -> ReportSection | None:
    """The supplement: the contrastive loss against plain encoders."""
    settings = {loss: replace(_usual(data), loss=loss) for loss in ("supcon", "cross_entropy", "autoencoder")}
    table = _sweep(data, "loss", settings)
    if table is None:
        return None
    return ReportSection(
        "loss",
        "Contrastive loss against plain encoders (supplement)",
        "Same architecture, steps and similarity; cross_entropy tells the classes apart by a linear head, autoencoder "
        f"learns without labels. {_setting(data)}",
        {"loss": table},
        {"loss": figures.ablation_bars(table, "loss", ("auc", "gap"))},
        SectionNumbers(loss=_keyed(table, "loss")),
    )


def view_algorithms(data: ReportData) -> ReportSection | None:
    """Views of Section 4.3 against Algorithm 1, with equally many views to learn from."""
    plan = data.plan
    if plan.second_probe is None:
        return None
    try:
        second, rows = _second_matrix(data)
    except UserError as error:
        remark = f"Algorithm 1 could not be compared: {error}"
        return ReportSection("view_algorithms", "Views by Algorithm 1 (supplement)", remark, remarks=(remark,))
    n = data.matrix.n_test_views
    resamples = [_within(resample, rows) for resample in _resamples(data)]
    setting = replace(_usual(data, PAPER), n_views=n)
    neighbours = _sweep(data, "views", {"Section 4.3": setting}, always=True)
    whole = _sweep(data, "views", {"Algorithm 1": setting}, second, resamples, always=True)
    table = pd.concat([neighbours, whole])
    return ReportSection(
        "view_algorithms",
        "Views by Algorithm 1 and by Section 4.3 (supplement)",
        f"One UAP of the paper's norm, {n} views to learn from: neighbours of each cluster's point against any point "
        f"of the whole cluster. {_setting(data)}",
        {"view_algorithms": table},
        {"view_algorithms": figures.ablation_bars(table, "views", ("auc", "gap"))},
        SectionNumbers(view_algorithms=_keyed(table, "views")),
    )


def one_architecture(data: ReportData) -> ReportSection | None:
    """The paper's way: the encoder learns from models of one architecture (protocol 2.12, row `paper`)."""
    config, matrix = data.plan.config.verdict, data.matrix
    if not data.plan.config.studies.sweeps:
        return None
    architecture = data.plan.config.zoo.architectures[0]
    seed = f"{data.plan.seed}/{architecture}"
    numbers = [resample.index for resample in _resamples(data)]  # both rows are means over as many
    try:
        resamples = [
            make_resample(matrix.members, i, config.n_train, config.n_calibrate, seed, architecture, data.pool)
            for i in numbers
        ]
    except UserError as error:
        remark = f"row `paper` could not be made: {error}"
        return ReportSection("paper_row", "The paper's encoder", remark, remarks=(remark,))
    name = f"learns from {architecture} alone"
    alone = _sweep(data, "encoder", {name: _usual(data, PAPER)}, resamples=resamples, always=True)
    mixed = _sweep(data, "encoder", {"learns from all architectures": _usual(data, PAPER)}, always=True)
    table = pd.concat([mixed, alone])
    return ReportSection(
        "paper_row",
        "The paper's encoder: one architecture to learn from",
        f"Row `paper` of the protocol: the encoder's models are all of architecture {architecture}, all others are "
        f"tested; one UAP of the paper's norm, probabilities. {_setting(data)}",
        {"paper_row": table},
        {"paper_row": figures.ablation_bars(table, "encoder", ("auc", "gap"))},
        SectionNumbers(paper_row=_keyed(table, "encoder")),
    )


def _block(data: ReportData) -> BlockKey:
    """The block of UAPs that the sweeps use: fixed by the configuration, so that no test model has a say in it."""
    return BlockKey(UAP, max(data.plan.config.uap.xi_fractions))


def _resamples(data: ReportData) -> list[Resample]:
    """The resamples of a sweep: the evaluation's first, which may have fewer than a sweep asks for."""
    return [scored.resample for scored in data.resamples[: data.plan.config.studies.n_resamples]]


def _usual(data: ReportData, block: BlockKey | None = None) -> Setting:
    """The evaluation's own encoder on probabilities, of `block` or that of `_block`: what a sweep varies."""
    return Setting(block or _block(data), loss=data.plan.config.encoder.loss)


def _setting(data: ReportData) -> str:
    return (
        f"Means over {len(_resamples(data))} resamples, test models, with 95 % bootstrap intervals over "
        f"models. {data.setting}."
    )


def _sweep(
    data: ReportData,
    column: str,
    settings: Mapping[str, Setting] | Mapping[int, Setting],
    matrix: ResponseMatrix | None = None,
    resamples: Sequence[Resample] | None = None,
    *,
    always: bool = False,
) -> pd.DataFrame | None:
    """A row per setting: `over_resamples`; None where sweeps are turned off."""
    studies, plan = data.plan.config.studies, data.plan
    if not (studies.sweeps or always):
        return None
    shown = matrix or data.matrix
    chosen = resamples or _resamples(data)
    work = [(setting, resample) for setting in settings.values() for resample in chosen]

    def one(item: tuple[Setting, Resample]) -> tuple[Resample, Tensor]:
        setting, resample = item
        seed = f"{plan.probe.id}/{resample.index}"
        return resample, stored_trial(data.store, shown, resample, setting, plan.config.encoder, seed)

    scored = list(map_threads(one, work, data.threads))
    n = len(chosen)
    return pd.DataFrame(
        [{column: value, **over_resamples(shown, scored[i * n :][:n])} for i, value in enumerate(settings)]
    )


def _second_matrix(data: ReportData) -> tuple[ResponseMatrix, list[int]]:
    """The models that responded to the second probe, and their rows in the first matrix."""
    plan, store = data.plan, data.store
    assert plan.second_probe is not None
    if not store.has(*plan.second_probe.artifact):
        raise UserError("its probe could not be made (see failures: most likely a cluster with too few points)")
    probe = read_probe(store.get(*plan.second_probe.artifact))
    specs = [plan.second_response(member) for member in data.matrix.members]
    there = published_ids(store, filter(None, specs))
    rows = [i for i, spec in enumerate(specs) if spec is not None and spec.id in there]
    if rows[:1] != [0]:
        raise UserError("the victim's responses to its probe are missing (see failures)")
    responses = [read_responses(store.get_mapped(*spec.artifact)) for i in rows if (spec := specs[i]) is not None]
    return ResponseMatrix.from_responses(
        [data.matrix.members[i] for i in rows], responses, probe, plan.second_probe
    ), rows


def _within(resample: Resample, rows: Sequence[int]) -> Resample:
    """The resample in the row numbers of a matrix of `rows` alone, without models stolen from other victims."""
    place = {row: i for i, row in enumerate(rows)}

    def moved(old: Sequence[int]) -> tuple[int, ...]:
        return tuple(place[row] for row in old if row in place)

    training = TrainingSet(moved(resample.training.piracy), moved(resample.training.homologous))
    return Resample(resample.index, training, moved(resample.calibration), moved(resample.test))


def _keyed(table: pd.DataFrame, column: str) -> dict[str, SweepNumbers]:
    """Value to means and intervals."""
    return dict(zip(map(str, table[column]), rows_of(SweepNumbers, table.drop(columns=column)), strict=True))
