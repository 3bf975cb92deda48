"""One trial of an ablation as a plain function: an encoder retrained under one setting, on stored responses."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

import torch
from torch import Tensor

from uapfp_dist.data.splits import index_digest
from uapfp_dist.evaluation.judging import by_id, victims_of
from uapfp_dist.fingerprints.blocks import CLEAN, ONE_VIEW, BlockKey
from uapfp_dist.fingerprints.methods.base import Candidate, Request
from uapfp_dist.fingerprints.methods.encoder_method import EncoderMethod, similarities_to_victim
from uapfp_dist.fingerprints.resamples import Resample
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.response_format import PROBABILITIES, ResponseFormat
from uapfp_dist.rng import numpy_rng
from uapfp_dist.statistics.auc import auc, auc_over_resamples, gap_over_resamples
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.hashing import JUDGING_VERSION, content_id, wire_form, wire_names
from uapfp_dist.tasks.members import Role
from uapfp_dist.tasks.method_configs import EncoderConfig


@wire_names(
    "Setting", "block format n_points n_views loss", block=lambda block: block.wire, format=lambda fmt: fmt.wire
)
@dataclass(frozen=True)
class Setting:
    """What a trial varies; None leaves what the evaluation has."""

    block: BlockKey
    """The perturbed points whose responses are fingerprinted."""
    format: ResponseFormat = PROBABILITIES
    n_points: int | None = None
    """Only the first so many clusters."""
    n_views: int | None = None
    """Views the encoder learns from; the test views stay."""
    loss: Literal["supcon", "cross_entropy", "autoencoder"] = "supcon"


def trial(matrix: ResponseMatrix, resample: Resample, setting: Setting, config: EncoderConfig, seed: str) -> Tensor:
    """(M,) similarity of every model to the victim, by an encoder trained on `resample` under `setting`."""
    shown = fewer_points(matrix, setting.n_points)
    candidate = Candidate((setting.block,), setting.format)
    request = Request(
        fewer_views(shown, setting.n_views), candidate, [resample.training], replace(config, loss=setting.loss), seed
    )
    return similarities_to_victim(EncoderMethod("", setting.block).fit(request), shown, candidate)[0].mean(1)


def stored_trial(
    store: Store, matrix: ResponseMatrix, resample: Resample, setting: Setting, config: EncoderConfig, seed: str
) -> Tensor:
    """`trial`, done once in all runs: read where it is stored."""
    key = trial_id(matrix, resample, setting, config, seed)
    if not store.intact("trial", key):
        scores = trial(matrix, resample, setting, config, seed)
        store.put("trial", key, {"scores": scores}, {"setting": wire_form(setting), "draw": resample.index})
    return store.get("trial", key).tensors["scores"]


def trial_id(matrix: ResponseMatrix, resample: Resample, setting: Setting, config: EncoderConfig, seed: str) -> str:
    """The id of a stored trial: all that determines its scores."""
    models = [member.spec.id for member in matrix.members]
    determining = {"trial": setting, "draw": resample, "encoder": config, "seed": seed, "models": models}
    return content_id({**determining, "views": index_digest(matrix.views), "judging": JUDGING_VERSION})


def outcome(
    matrix: ResponseMatrix, resample: Resample, scores: Tensor, piracy_rows: Sequence[int] | None = None
) -> dict[str, float]:
    """Gap and AUC on the test models of `resample`; `piracy_rows` take the place of the test piracy."""
    piracy, homologous, other = (scores[rows] for rows in _tested(matrix, resample, piracy_rows))
    return {
        "gap": float(piracy.mean() - homologous.mean()),
        "auc": auc(piracy, homologous),
        "auc_other_victim": auc(piracy, other),
        "piracy": float(piracy.mean()),
        "homologous": float(homologous.mean()),
    }


def over_resamples(
    matrix: ResponseMatrix, scored: Sequence[tuple[Resample, Tensor]], piracy_rows: Sequence[int] | None = None
) -> dict[str, float]:
    """Mean `outcome` over resamples; gap and AUC with 95 % bootstrap intervals over models (`<name>_low`, `_high`).

    Args:
        scored: a resample, and the similarity of every row of the matrix in it.
    """
    rows = [_tested(matrix, resample, piracy_rows) for resample, _ in scored]
    groups = [
        [by_id(mine, scores.tolist(), matrix.members) for mine in three]
        for three, (_, scores) in zip(rows, scored, strict=True)
    ]
    homologous, other = ([(piracy, group[i]) for piracy, *group in groups] for i in (0, 1))
    estimates = {
        "gap": gap_over_resamples(homologous, numpy_rng("bootstrap", "gap")),
        "auc": auc_over_resamples(homologous, numpy_rng("bootstrap", "auc")),
        "auc_other_victim": auc_over_resamples(
            other, numpy_rng("bootstrap", "auc_other_victim"), victims=victims_of(matrix.members)
        ),
    }
    found: dict[str, float] = {}
    for name, estimate in estimates.items():
        found |= {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    for i, name in enumerate(("piracy", "homologous")):
        found[name] = fmean(float(scores[three[i]].mean()) for three, (_, scores) in zip(rows, scored, strict=True))
    return found


def _tested(
    matrix: ResponseMatrix, resample: Resample, piracy_rows: Sequence[int] | None
) -> tuple[list[int], list[int], list[int]]:
    """Rows of the test models: those to be detected, homologous ones, those stolen from other victims."""
    piracy = resample.tested(matrix.members, Role.PIRACY) if piracy_rows is None else list(piracy_rows)
    return (
        piracy,
        resample.tested(matrix.members, Role.HOMOLOGOUS),
        resample.tested(matrix.members, Role.OTHER_VICTIM_PIRACY),
    )


def fewer_points(matrix: ResponseMatrix, n_points: int | None) -> ResponseMatrix:
    """Fingerprints of the first `n_points` clusters."""
    return matrix if n_points is None else _cut(matrix, (slice(None), slice(n_points)))


def fewer_views(matrix: ResponseMatrix, n_views: int | None) -> ResponseMatrix:
    """The first `n_views` views alone."""
    return matrix if n_views is None else _cut(matrix, (slice(n_views), slice(None)))


def _cut(matrix: ResponseMatrix, part: tuple[slice, slice]) -> ResponseMatrix:
    # A block without views has nothing to cut.
    gather = {key: index if key.kind in ONE_VIEW else index[part] for key, index in matrix.gather.items()}
    return replace(matrix, views=matrix.views[part], gather=gather)


def mean_confidence(matrix: ResponseMatrix, k: int) -> float:
    """Mean sum of the k largest confidences of all models on the clean test points (the paper: .9996 at 3)."""
    sums = matrix.per_model(CLEAN, PROBABILITIES, lambda p: p.sort(dim=1, descending=True).values[:, :k].sum(1).mean())
    return float(torch.as_tensor(sums).mean())
