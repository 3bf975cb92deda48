"""One draw: fit every method on the training models, choose its format there, score everybody."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from uapfp_dist.fingerprints.methods.base import Candidate, Request
from uapfp_dist.fingerprints.methods.registry import METHODS
from uapfp_dist.fingerprints.resamples import Resample, TrainingSet, leave_some_out
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.response_format import PROBABILITIES, ResponseFormat
from uapfp_dist.statistics.auc import auc
from uapfp_dist.tasks.method_configs import EncoderConfig


@dataclass(frozen=True)
class ScoredCandidate:
    """One candidate of one method in one draw."""

    candidate: Candidate
    scores: Tensor
    """(M, V) of all rows of the panel, by the scorer trained on the draw's training set."""
    training_auc: float
    """Inside the training models, each scored by a scorer that did not see it (protocol 2.5)."""
    training_gap: float
    """Standardised gap there: breaks ties."""
    queries: int


@dataclass(frozen=True)
class ScoredResample:
    """All methods in one draw."""

    draw: Resample
    methods: dict[str, tuple[ScoredCandidate, ...]]
    attack_out: dict[str, Tensor]
    """Attack to (M,) weighted-error scores learnt from that attack's piracy alone."""

    def chosen(self, method: str, fmt: ResponseFormat | None = None) -> ScoredCandidate | None:
        """The first of `ranked`, overall or within a format; None if there is none."""
        return next(iter(self.ranked(method, fmt)), None)

    def ranked(self, method: str, fmt: ResponseFormat | None = None) -> list[ScoredCandidate]:
        """Candidates, the best first: encoders of more blocks together before fewer, then by the training models."""
        pool = [s for s in self.methods[method] if fmt in (None, s.candidate.format)]
        return sorted(pool, key=lambda s: (len(s.candidate.blocks), s.training_auc, s.training_gap), reverse=True)


def score_resample(
    panel: ResponseMatrix, draw: Resample, methods: Sequence[str], config: EncoderConfig, seed: str
) -> ScoredResample:
    """Fit and score `methods` on `draw`; nothing here looks at a calibration or test model's role."""
    name = f"{seed}/{draw.index}"
    folds = [draw.training, *(fold for fold, _ in leave_some_out(draw.training))]
    asked = Request(panel, Candidate("", PROBABILITIES), folds, config, name)
    scored = {
        method: tuple(_score(replace(asked, candidate=c), draw, method) for c in METHODS[method].candidates(panel))
        for method in methods
    }
    return ScoredResample(draw, scored, _attack_out(panel, draw))


def _score(request: Request, draw: Resample, method: str) -> ScoredCandidate:
    panel, candidate = request.panel, request.candidate
    way = METHODS[method]
    scores = way.score(request)
    left_out = [out for _, out in leave_some_out(draw.training)]

    def unseen(rows: Sequence[tuple[int, ...]]) -> Tensor:
        return torch.cat([scores[i, list(mine)].mean(1) for i, mine in enumerate(rows, start=1)])

    piracy = unseen([out.piracy for out in left_out])
    innocent = [unseen([out.homologous for out in left_out])]
    if draw.training.other_victim:
        innocent.append(unseen([out.other_victim for out in left_out]))
    areas = [auc(piracy, group) for group in innocent]
    everyone = torch.cat(innocent)
    gap = float((piracy.mean() - everyone.mean()) / (torch.cat([piracy, everyone]).std() + 1e-9))
    return ScoredCandidate(
        candidate, scores[0].clone(), sum(areas) / len(areas), gap, panel.n_query_images(*way.sent(candidate))
    )


def scores_within_budget(
    panel: ResponseMatrix, draw: Resample, method: str, scored: ScoredCandidate, budget: int
) -> tuple[Tensor, int] | None:
    """Scores when a suspect may be sent at most `budget` images; no encoder is fitted again.

    By views: the mean over as many first views as fit. By images: the best so many images of the training models'
    (weighted errors) or the first so many (natural errors, SAC, IPGuard), even where a verdict uses fewer.

    Args:
        panel: the one that was scored.
        draw: the one that was scored.
        method: its name.
        scored: the candidate.
        budget: images in all, clean and perturbed ones counted alike.

    Returns:
        (M,) scores of all rows and the images really sent; None where not even one view fits.

    Raises:
        UserError: a budget below 1.
    """
    way = METHODS[method]
    blocks = way.sent(scored.candidate)
    smaller = panel.within_budget(budget, *blocks)
    if smaller.n_test_views == 0:
        return None
    if way.by_view:
        scores = scored.scores[:, : smaller.n_test_views]
    else:
        scores = way.score(Request(smaller, scored.candidate, [draw.training]))[0]
    return scores.mean(1), smaller.n_query_images(*blocks)


def _attack_out(panel: ResponseMatrix, draw: Resample) -> dict[str, Tensor]:
    by_attack: dict[str, list[int]] = {}
    for row in draw.training.piracy:
        by_attack.setdefault(getattr(panel.members[row].spec.origin, "attack", ""), []).append(row)
    method = METHODS["weighted_errors"]
    candidate = method.candidates(panel)[0]
    folds = [TrainingSet(tuple(rows), draw.training.homologous) for rows in by_attack.values()]
    scores = method.score(Request(panel, candidate, folds))
    return {attack: scores[i].mean(1) for i, attack in enumerate(by_attack)}
