"""Weights of the victim's natural errors: what agreement with the victim says at each of them (protocol 3.3)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor

from uapfp_dist.fingerprints.methods.agreement import naive_bayes
from uapfp_dist.fingerprints.resamples import TrainingSet

RIDGE = 0.1
"""Inverse strength of the regression's penalty: images outnumber training models by far."""


@dataclass(frozen=True)
class ErrorWeights:
    """The most telling natural errors, the best first."""

    index: Tensor
    """(N,) int64 into the probe's natural errors."""
    log_odds_agree: Tensor
    """(N,) float64 log odds of piracy where a model agrees with the victim."""
    log_odds_disagree: Tensor
    """(N,) float64 log odds where it does not."""

    def score(self, agree: Tensor) -> Tensor:
        """(M,) float64 log odds of piracy; `agree` (M, E) over all natural errors."""
        return torch.where(agree[:, self.index], self.log_odds_agree, self.log_odds_disagree).sum(1)


def by_naive_bayes(agree: Tensor, training: TrainingSet, n_images: int) -> ErrorWeights:
    """By naive Bayes: the `n_images` that separate the training models best."""
    odds_agree, odds_disagree, worth = naive_bayes(agree, list(training.piracy), list(training.negatives(True)))
    best = worth.argsort(descending=True, stable=True)[:n_images]
    return ErrorWeights(best, odds_agree[best], odds_disagree[best])


def by_logistic_regression(agree: Tensor, training: TrainingSet, n_images: int) -> ErrorWeights:
    """By ridge regression, which sees that errors come together: the `n_images` of largest weight."""
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
    "naive_bayes": by_naive_bayes,
    "logistic_regression": by_logistic_regression,
}
