"""What the scorers learn, and which of them decides: from the training models alone."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor

from uapfp_dist.fingerprints.blocks import NATURAL, BlockKey
from uapfp_dist.fingerprints.encoder import EncoderStack
from uapfp_dist.fingerprints.methods.base import Candidate, Request
from uapfp_dist.fingerprints.methods.encoder_method import EncoderMethod
from uapfp_dist.fingerprints.resamples import TrainingSet
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.statistics.auc import auc
from uapfp_dist.tasks.method_configs import EncoderConfig

N_FOLDS = 6
"""Of the cross-validation inside the training models."""
RIDGE = 0.1
"""Inverse strength of the regression's penalty: images outnumber training models by far."""
PIRACY = "piracy"
UAP = EncoderMethod("UAPs in turn over the views", "uap", other_victims_too=True)
"""The paper's method; every group of innocents counts among its negatives, since every group must be told apart."""


@dataclass(frozen=True)
class TrainingRows:
    """Rows of a panel that may be learnt from, by group."""

    rows: Mapping[str, Sequence[int]]

    def folds(self) -> list[tuple[TrainingSet, dict[str, list[int]]]]:
        """(who trains, who is left out by group), one model in N_FOLDS of every group at a time."""
        found = []
        n_folds = min(N_FOLDS, *(len(rows) for rows in self.rows.values()))
        for fold in range(n_folds):
            left = {g: [row for i, row in enumerate(rows) if i % n_folds == fold] for g, rows in self.rows.items()}
            found.append((self.training({row for rows in left.values() for row in rows}), left))
        return found

    def training(self, without: set[int] | frozenset[int] = frozenset()) -> TrainingSet:
        """A training set of all but those; innocents of every group are its negatives."""
        innocents = [row for group, rows in self.rows.items() if group != PIRACY for row in rows if row not in without]
        return TrainingSet(tuple(row for row in self.rows[PIRACY] if row not in without), tuple(innocents))


@dataclass(frozen=True, order=True)
class Separation:
    """How well a method tells stolen training models from innocent ones that it did not learn from; larger is better.

    The order of the fields is the order of importance: an accusation takes a score above nearly all innocents.
    """

    caught: float
    """Share of stolen models that score above every innocent one."""
    auc: float
    """P(a stolen model scores above an innocent one); every group of innocents counts alike."""
    gap: float
    """Difference of their means in standard deviations: breaks ties."""

    @staticmethod
    def of(scores: Mapping[str, Tensor]) -> "Separation":
        """From group to the scores of its models, each by a scorer that did not learn from it."""
        piracy = scores[PIRACY].double()
        innocents = [s.double() for group, s in scores.items() if group != PIRACY]
        everyone = torch.cat(innocents)
        gap = float((piracy.mean() - everyone.mean()) / (torch.cat([piracy, everyone]).std() + 1e-9))
        caught = float((piracy > everyone.max()).double().mean())
        return Separation(caught, math.fsum(auc(piracy, group) for group in innocents) / len(innocents), gap)


@dataclass(frozen=True)
class FittedScorer:
    """A method that has learnt in one format, and how it did on training models left out."""

    separation: Separation
    variant: str
    """What cross-validation chose inside the method: the block of the UAPs, or how errors are weighed."""
    block: BlockKey | None = None
    """Of an encoder, that block."""


def learn_uap(
    panel: ResponseMatrix, trainers: TrainingRows, fmt: ResponseFormat, config: EncoderConfig, seed: str
) -> tuple[FittedScorer, EncoderStack]:
    """The encoder for one format, at the radius that does best on training models left out."""
    folds = trainers.folds()
    best: tuple[FittedScorer, EncoderStack] | None = None
    for candidate in UAP.single(panel):
        if candidate.format != fmt:
            continue
        sets = [trainers.training(), *(training for training, _ in folds)]
        stack = UAP.fit(Request(panel, candidate, sets, config, seed))
        separation = Separation.of(_left_out_similarity(panel, candidate, stack, folds))
        if best is None or separation > best[0].separation:
            best = FittedScorer(separation, candidate.wire, candidate.block), stack
    assert best is not None
    return best


def _left_out_similarity(
    panel: ResponseMatrix,
    candidate: Candidate,
    stack: EncoderStack,
    folds: Sequence[tuple[TrainingSet, dict[str, list[int]]]],
) -> dict[str, Tensor]:
    """Group to the scores of its models, each by the encoder that did not see it."""
    n = panel.n_test_views
    victim = panel.fingerprints([0], candidate.block, candidate.format, n)[0]
    found: dict[str, list[Tensor]] = {}
    for i, (_, left) in enumerate(folds, start=1):
        for group, rows in left.items():
            prints = panel.fingerprints(rows, candidate.block, candidate.format, n)
            found.setdefault(group, []).append(stack.similarity(prints, victim)[i].mean(1))
    return {group: torch.cat(scores) for group, scores in found.items()}


@dataclass(frozen=True)
class ErrorWeights:
    """Natural errors that tell most, the best first, and what agreement with the victim says there (protocol 3.3)."""

    index: Tensor
    """(N,) int64 into the probe's natural errors."""
    log_odds_agree: Tensor
    """(N,) float64 log odds of piracy where a model agrees."""
    log_odds_disagree: Tensor
    """(N,) float64 log odds where it does not."""

    def score(self, agree: Tensor) -> Tensor:
        """(M,) float64 log odds of piracy; `agree` (M, E) over all natural errors."""
        return torch.where(agree[:, self.index], self.log_odds_agree, self.log_odds_disagree).sum(1)


def naive_bayes(agree: Tensor, training: TrainingSet, n_images: int) -> ErrorWeights:
    """log(a / b) or log((1 - a) / (1 - b)), for shares a of piracy and b of innocents that agree (protocol 3.3).

    The `n_images` with the largest a (1 - b) are kept, and taken for independent of each other.
    """
    innocent = list(training.negatives(True))
    a = (agree[list(training.piracy)].double().sum(0) + 0.5) / (len(training.piracy) + 1)
    b = (agree[innocent].double().sum(0) + 0.5) / (len(innocent) + 1)
    best = (a * (1 - b)).argsort(descending=True, stable=True)[:n_images]
    return ErrorWeights(best, (a / b).log()[best], ((1 - a) / (1 - b)).log()[best])


def logistic_regression(agree: Tensor, training: TrainingSet, n_images: int) -> ErrorWeights:
    """The same by ridge regression, which sees that errors come together: the `n_images` of largest weight."""
    rows = [*training.piracy, *training.negatives(True)]
    stolen = [row in training.piracy for row in rows]

    def fitted(columns: Tensor) -> LogisticRegression:
        return LogisticRegression(C=RIDGE, max_iter=10_000).fit(agree[rows][:, columns].double().numpy(), stolen)

    with threadpool_limits(1):
        every = torch.from_numpy(fitted(torch.arange(agree.shape[1])).coef_[0])
        best = every.abs().argsort(descending=True, stable=True)[:n_images]
        final = fitted(best)
    weight = torch.from_numpy(final.coef_[0])
    share = float(final.intercept_[0]) / len(best)
    return ErrorWeights(best, weight + share, torch.full_like(weight, share))


WEIGHINGS: dict[str, Callable[[Tensor, TrainingSet, int], ErrorWeights]] = {
    "naive_bayes": naive_bayes,
    "logistic_regression": logistic_regression,
}


def learn_errors(panel: ResponseMatrix, trainers: TrainingRows, n_images: int) -> tuple[FittedScorer, ErrorWeights]:
    """Weighted natural errors, weighed in the way that does best on training models left out.

    Labels only, so the same for every format.
    """
    labels = panel.labels(NATURAL)
    agree = labels == labels[:1]
    best: FittedScorer | None = None
    for way, weigh in WEIGHINGS.items():
        scores: dict[str, list[Tensor]] = {}
        for training, left in trainers.folds():
            found = weigh(agree, training, n_images).score(agree)
            for group, rows in left.items():
                scores.setdefault(group, []).append(found[rows])
        separation = Separation.of({group: torch.cat(parts) for group, parts in scores.items()})
        if best is None or separation > best.separation:
            best = FittedScorer(separation, way)
    assert best is not None
    return best, WEIGHINGS[best.variant](agree, trainers.training(), n_images)
