"""Which churn points separate stolen models from others, and how much each counts: ridge logistic regression."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor

from uapfp_dist.fingerprints.churn import is_first_of_image

RIDGE = 0.1
"""scikit-learn's C, for agreements coded +-1/2."""


@dataclass(frozen=True)
class Candidates:
    """E churn points from which those for a suspect are chosen."""

    base: Tensor
    """(E,) int64: of which image each was made."""
    per_image: int
    """Chosen points of one image, at most."""

    def first(self, order: Tensor, n_points: int) -> Tensor:
        """The first `n_points` of points in an order, (K,) int64, without more of one image than may be."""
        return order[is_first_of_image(self.base[order], self.per_image)][:n_points]


@dataclass(frozen=True)
class ChurnWeights:
    """A linear score of labels on n chosen points."""

    index: Tensor
    """(n,) int64: the points."""
    weights: Tensor
    """(n,) float64: log odds that a model is stolen, of agreement with the victim against disagreement."""
    intercept: float

    def scores(self, agree: Tensor) -> Tensor:
        """(M,) float64 log odds of models.

        Args:
            agree: (M, E) bool: the model gives the victim's label.
        """
        return (agree[:, self.index].double() - 0.5) @ self.weights + self.intercept


def rank_points(agree: Tensor, stolen: Sequence[int], negatives: Sequence[int], points: Candidates) -> Tensor:
    """(K,) int64: the points that may be sent together, the one of largest weight first, by a fit on all of them.

    Args:
        agree: (M, E) bool: the model gives the victim's label.
        stolen: training rows.
        negatives: training rows.
        points: the E points.
    """
    weights, _ = _ridge(agree, stolen, negatives, torch.arange(agree.shape[1]))
    return points.first(weights.argsort(descending=True, stable=True), agree.shape[1])


def fit_on(agree: Tensor, stolen: Sequence[int], negatives: Sequence[int], index: Tensor) -> ChurnWeights:
    """A fit on the points at `index` (n,) alone; both classes weigh alike, whatever their numbers."""
    return ChurnWeights(index, *_ridge(agree, stolen, negatives, index))


def fit_churn_weights(
    agree: Tensor, stolen: Sequence[int], negatives: Sequence[int], points: Candidates, n_points: int
) -> ChurnWeights:
    """Rank all points, keep the first `n_points`, fit again on those; arguments as of `rank_points`."""
    return fit_on(agree, stolen, negatives, rank_points(agree, stolen, negatives, points)[:n_points])


def _ridge(agree: Tensor, stolen: Sequence[int], negatives: Sequence[int], index: Tensor) -> tuple[Tensor, float]:
    x = agree[[*stolen, *negatives]][:, index].double().numpy() - 0.5
    y = np.array([1] * len(stolen) + [0] * len(negatives))
    with threadpool_limits(1):  # the order of a parallel sum must not choose the points
        model = LogisticRegression(C=RIDGE, class_weight="balanced", max_iter=1000, tol=1e-8).fit(x, y)
    return torch.from_numpy(model.coef_[0]), float(model.intercept_[0])
