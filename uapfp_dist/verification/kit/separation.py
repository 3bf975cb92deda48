"""How well a method tells stolen models from negatives, measured by cross-validation inside the training models."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uapfp_dist.fingerprints.resamples import TrainingSet
from uapfp_dist.statistics.auc import auc

N_FOLDS = 6
"""Of the cross-validation inside the training models."""
PIRACY = "piracy"
"""The group of the models that were stolen from the victim."""


@dataclass(frozen=True)
class Fold:
    """One split of the training models."""

    training: TrainingSet
    left_out: dict[str, list[int]]
    """Group to its rows that do not train."""


@dataclass(frozen=True)
class TrainingRows:
    """Rows of a response matrix that may train a scorer, by group."""

    rows: Mapping[str, Sequence[int]]

    def folds(self) -> Iterator[Fold]:
        """One model in N_FOLDS of every group is left out at a time; fewer folds where a group has fewer models."""
        n_folds = min(N_FOLDS, *(len(rows) for rows in self.rows.values()))
        for fold in range(n_folds):
            left = {g: [row for i, row in enumerate(rows) if i % n_folds == fold] for g, rows in self.rows.items()}
            yield Fold(self.training({row for rows in left.values() for row in rows}), left)

    def training(self, without: set[int] | frozenset[int] = frozenset()) -> TrainingSet:
        """A training set of all but those; every group of negatives counts among its negatives."""
        negatives = [row for group, rows in self.rows.items() if group != PIRACY for row in rows if row not in without]
        return TrainingSet(tuple(row for row in self.rows[PIRACY] if row not in without), tuple(negatives))


@dataclass(frozen=True, order=True)
class Separation:
    """How well a method tells stolen training models from negatives that it was not fitted on; larger is better.

    The order of the fields is the order of importance: an accusation takes a score above nearly all negatives.
    """

    caught: float
    """Share of stolen models that score above every negative."""
    auc: float
    """P(a stolen model scores above a negative); every group of negatives counts alike."""
    gap: float
    """Difference of their means in standard deviations: breaks ties."""

    @staticmethod
    def of(scores: Mapping[str, Tensor]) -> "Separation":
        """From group to the scores of its models, each by a scorer that was not fitted on it."""
        piracy = scores[PIRACY].double()
        negatives = [s.double() for group, s in scores.items() if group != PIRACY]
        together = torch.cat(negatives)
        gap = float((piracy.mean() - together.mean()) / (torch.cat([piracy, together]).std() + 1e-9))
        caught = float((piracy > together.max()).double().mean())
        return Separation(caught, math.fsum(auc(piracy, group) for group in negatives) / len(negatives), gap)
