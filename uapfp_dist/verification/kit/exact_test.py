"""The exact sibling test of a kit: what a suspect is asked, and how the answers are scored."""

from dataclasses import dataclass

import torch
from torch import Tensor

DIGITS = 9
"""Decimals of a statistic that are kept: another processor sums in another order."""


@dataclass(frozen=True)
class ExactTest:
    """P players, the victim first, and n images of each (`fingerprints.sibling_test`)."""

    points: Tensor
    """(P, n) int64 indices of a kit's images."""
    labels: Tensor
    """(P, n) int64: what each player says to its own."""
    weights: Tensor
    """(P, n) float64: of agreement."""
    centre: Tensor
    """(P,) float64: mean score of models not derived from the player."""
    scale: Tensor
    """(P,) float64: their standard deviation."""

    @property
    def images(self) -> Tensor:
        """(U,) int64: every image once."""
        return self.points.unique()

    def statistics(self, labels: Tensor) -> Tensor:
        """(P,) float64 of one suspect, by its (Q,) labels of the kit's images; one that is negative agrees with nobody.

        One rule for all players: a missing answer is no agreement.
        """
        agree = (labels[self.points] == self.labels).double()
        return (((agree * self.weights).sum(1) - self.centre) / self.scale).round(decimals=DIGITS)


def exact_p(statistics: Tensor) -> float:
    """(1 + siblings at least as high) / (1 + m) of (P,) statistics, the victim's first; ties count against a claim."""
    return (1 + int((statistics[1:] >= statistics[0]).sum())) / len(statistics)


def labels_of(probabilities: Tensor) -> Tensor:
    """(Q,) int64 labels of (Q, C) answers; -1 where there is none."""
    answered = probabilities.isfinite().all(1)
    return torch.where(answered, probabilities.nan_to_num().argmax(1), -1)
