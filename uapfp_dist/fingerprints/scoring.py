"""Score one resample: every method is fitted, and its format chosen, on the training models alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from uapfp_dist.concurrency import iterate_threads
from uapfp_dist.fingerprints.methods.base import Candidate, EncoderKey, Request
from uapfp_dist.fingerprints.methods.encoder_method import EncoderPart, encoder_parts, fit_together
from uapfp_dist.fingerprints.methods.registry import METHODS
from uapfp_dist.fingerprints.resamples import Resample, TrainingSet, leave_some_out
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.statistics.auc import auc
from uapfp_dist.tasks.method_configs import EncoderConfig


@dataclass(frozen=True)
class ScoredCandidate:
    """One candidate of one method in one resample."""

    candidate: Candidate
    scores: Tensor
    """(M, V) of all rows of the matrix, by the scorer fitted on the training set of the resample."""
    training_auc: float
    """Inside the training models, each scored by a scorer that did not see it (protocol 2.5)."""
    training_gap: float
    """Standardised gap there: breaks ties."""
    queries: int


@dataclass(frozen=True)
class ScoredResample:
    """All methods in one resample."""

    resample: Resample
    methods: dict[str, tuple[ScoredCandidate, ...]]
    attack_out: dict[str, Tensor]
    """Attack to (M,) weighted-error scores, trained on that attack's piracy alone."""

    def chosen(self, method: str, fmt: ResponseFormat | None = None) -> ScoredCandidate | None:
        """The first of `ranked`, overall or within a format; None if there is none."""
        return next(iter(self.ranked(method, fmt)), None)

    def ranked(self, method: str, fmt: ResponseFormat | None = None) -> list[ScoredCandidate]:
        """Candidates, the best first: encoders of more blocks together before fewer, then by the training models."""
        pool = [s for s in self.methods[method] if fmt in (None, s.candidate.format)]
        return sorted(pool, key=lambda s: (len(s.candidate.blocks), s.training_auc, s.training_gap), reverse=True)


AT_A_TIME = 4
"""Encoder tasks that a thread takes at a time; larger stacks are no faster."""


def score_resamples(
    matrix: ResponseMatrix,
    resamples: Sequence[Resample],
    methods: Sequence[str],
    config: EncoderConfig,
    seed: str,
    threads: int = 1,
    device: torch.device | str = "cpu",
) -> Iterator[ScoredResample]:
    """Fit and score `methods` on each of `resamples`, in their order, as soon as it is there.

    Encoders of all resamples are trained at once. Nothing here looks at a calibration or test model's role.

    Args:
        threads: that train encoders. The number does not change a result.
        device: where encoders are trained.
    """
    requests = [_requests(matrix, resample, methods, config, seed) for resample in resamples]
    batches = [_batches(of_one) for of_one in requests]
    fitted = iterate_threads(
        lambda parts: fit_together(parts, config, device), (part for parts in batches for part in parts), threads
    )
    for resample, of_one, parts in zip(resamples, requests, batches, strict=True):
        memo = {key: scores for _ in parts for key, scores in next(fitted).items()}
        scored = {
            method: tuple(
                score_candidate(replace(request, memo=memo), resample.training, method) for request in candidates
            )
            for method, candidates in of_one.items()
        }
        yield ScoredResample(resample, scored, _attack_out(matrix, resample))


def _requests(
    matrix: ResponseMatrix, resample: Resample, methods: Sequence[str], config: EncoderConfig, seed: str
) -> dict[str, list[Request]]:
    """Method to a request for each of its candidates."""
    folds = folds_of(resample.training)
    name = f"{seed}/{resample.index}"
    return {
        method: [Request(matrix, candidate, folds, config, name) for candidate in METHODS[method].candidates(matrix)]
        for method in methods
    }


def folds_of(training: TrainingSet) -> list[TrainingSet]:
    """`training`, then what stays of it when some are left out."""
    return [training, *(fold for fold, _ in leave_some_out(training))]


def _batches(requests: Mapping[str, Sequence[Request]]) -> list[dict[EncoderKey, EncoderPart]]:
    """Every encoder that the methods of one resample need, once, some at a time."""
    parts = {
        key: part
        for method, candidates in requests.items()
        for request in candidates
        for key, part in encoder_parts(METHODS[method], request).items()
    }
    keys = list(parts)
    return [{key: parts[key] for key in keys[i : i + AT_A_TIME]} for i in range(0, len(keys), AT_A_TIME)]


def score_candidate(request: Request, training: TrainingSet, method: str) -> ScoredCandidate:
    """A candidate's scores, and how it does on training models left out.

    Args:
        request: its folds are `training` and that with some left out.
        training: at least two models of piracy and two homologous ones.
        method: its name.
    """
    matrix, candidate = request.matrix, request.candidate
    scores = METHODS[method].score(request)
    left_out = [out for _, out in leave_some_out(training)]

    def unseen(rows: Sequence[tuple[int, ...]]) -> Tensor:
        return torch.cat([scores[i, list(mine)].mean(1) for i, mine in enumerate(rows, start=1)])

    piracy = unseen([out.piracy for out in left_out])
    negatives = [unseen([out.homologous for out in left_out])]
    if training.other_victim:
        negatives.append(unseen([out.other_victim for out in left_out]))
    areas = [auc(piracy, group) for group in negatives]
    everyone = torch.cat(negatives)
    gap = float((piracy.mean() - everyone.mean()) / (torch.cat([piracy, everyone]).std() + 1e-9))
    queries = matrix.n_query_images(*METHODS[method].query_blocks(candidate))
    return ScoredCandidate(candidate, scores[0].clone(), sum(areas) / len(areas), gap, queries)


def scores_within_budget(
    matrix: ResponseMatrix, resample: Resample, method: str, scored: ScoredCandidate, budget: int
) -> tuple[Tensor, int] | None:
    """Scores when a suspect may be sent at most `budget` images; no encoder is fitted again.

    Per view: the mean over as many first views as fit. Otherwise: the best so many images of the training models'
    (weighted errors) or the first so many (natural errors, SAC, IPGuard), even where a verdict uses fewer.

    Args:
        matrix: the one that was scored.
        resample: the one that was scored.
        method: its name.
        scored: the candidate.
        budget: images in all, clean and perturbed ones counted alike.

    Returns:
        (M,) scores of all rows and the images sent; None where not even one view fits.

    Raises:
        UserError: a budget below 1.
    """
    scorer = METHODS[method]
    blocks = scorer.query_blocks(scored.candidate)
    smaller = matrix.within_budget(budget, *blocks)
    if smaller.n_test_views == 0:
        return None
    if scorer.per_view:
        scores = scored.scores[:, : smaller.n_test_views]
    else:
        scores = scorer.score(Request(smaller, scored.candidate, [resample.training]))[0]
    return scores.mean(1), smaller.n_query_images(*blocks)


def _attack_out(matrix: ResponseMatrix, resample: Resample) -> dict[str, Tensor]:
    by_attack: dict[str, list[int]] = {}
    for row in resample.training.piracy:
        by_attack.setdefault(getattr(matrix.members[row].spec.origin, "attack_name", ""), []).append(row)
    method = METHODS["weighted_errors"]
    candidate = method.candidates(matrix)[0]
    folds = [TrainingSet(tuple(rows), resample.training.homologous) for rows in by_attack.values()]
    scores = method.score(Request(matrix, candidate, folds))
    return {attack: scores[i].mean(1) for i, attack in enumerate(by_attack)}
