"""The sets of churn points of a kit, chosen and weighed on the training models."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.fingerprints.churn import ChurnPoints
from uapfp_dist.fingerprints.churn_weights import Candidates, ChurnWeights, fit_on, rank_points

BUDGETS = (50, 88, 188, 388, 988)
"""Numbers of churn points that may be sent in place of all: with the 12 images that check the input 62, 100, 200, 400
and 1,000."""


@dataclass(frozen=True)
class ChurnTraining:
    """Rows of the models that may train."""

    stolen: Sequence[int]
    negatives: Sequence[int]


@dataclass(frozen=True)
class FittedSets:
    """S disjoint sets of n points, each weighed for B budgets."""

    index: Tensor
    """(S, n) int64 into the churn points, the most telling first."""
    budgets: Tensor
    """(B,) int64."""
    weights: Tensor
    """(B, S, n) float64."""
    intercepts: Tensor
    """(B, S) float64."""


def fit_churn_sets(
    agree: Tensor, training: ChurnTraining | None, points: ChurnPoints, per_image: int, n_sets: int, n_points: int
) -> FittedSets:
    """As many sets as the points give, the most telling points in the first; no two show views of one image.

    Args:
        agree: (M, E) bool: the model gives the victim's label.
        training: None: points count alike, those of the victim's largest margin first (`churn`).
        points: E churn points.
        per_image: points of one image in a set, at most.
        n_sets: at most.
        n_points: of each.

    Raises:
        UserError: the points give not even one set.
    """
    budgets = [n for n in BUDGETS if n < n_points] + [n_points]
    free = torch.ones(len(points.base), dtype=torch.bool)
    sets: list[Tensor] = []
    for _ in range(n_sets):
        at = free.nonzero().flatten()
        candidates = Candidates(points.base[at], per_image)
        if training is None:
            order = candidates.first(torch.arange(len(at)), len(at))
        else:
            order = rank_points(agree[:, at], training.stolen, training.negatives, candidates) if len(at) else at
        if len(order) < n_points:
            break
        sets.append(at[order[:n_points]])
        free &= ~torch.isin(points.base, points.base[sets[-1]])
    if not sets:
        raise UserError(
            f"n_points: expected {n_points} churn points of at most {per_image} for each image, found {len(order)} "
            f"among {points.pool_size} images; lower it, or take a larger pool or stronger variants (churn)",
            argument="n_points",
        )
    fitted = [[_fit(agree, training, one[:n]) for one in sets] for n in budgets]
    weights = torch.zeros(len(budgets), len(sets), n_points, dtype=torch.float64)
    for b, row in enumerate(fitted):
        for s, found in enumerate(row):
            weights[b, s, : len(found.weights)] = found.weights
    intercepts = torch.tensor([[found.intercept for found in row] for row in fitted], dtype=torch.float64)
    return FittedSets(torch.stack(sets), torch.tensor(budgets), weights, intercepts)


def _fit(agree: Tensor, training: ChurnTraining | None, index: Tensor) -> ChurnWeights:
    if training is not None:
        return fit_on(agree, training.stolen, training.negatives, index)
    # (agreement - 1/2) / n summed, plus 1/2: the share of points at which a model agrees.
    return ChurnWeights(index, torch.full((len(index),), 1 / len(index), dtype=torch.float64), 0.5)
