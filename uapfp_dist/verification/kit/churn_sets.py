"""Churn points of a kit: disjoint sets, so that what one operator has seen is not used on it again."""

from dataclasses import dataclass

import torch
from torch import Tensor

from uapfp_dist.errors import UserError


@dataclass(frozen=True)
class ChurnSets:
    """S sets of n points, of which a suspect is sent one; no two sets show views of one image.

    B budgets, m siblings, M models that calibrate or measure power.
    """

    points: Tensor
    """(S, n) int64 indices of a kit's images, the most telling first."""
    budgets: Tensor
    """(B,) int64, ascending: how many of the first points may be sent; the last one is n."""
    weights: Tensor
    """(B, S, n) float64: what agreement with the victim counts at each point, against disagreement; 0 beyond the
    budget. Log odds of piracy by `weighted_churn`, equal parts of 1 by `churn`."""
    intercepts: Tensor
    """(B, S) float64."""
    committee: Tensor
    """(S, n, m) int64: what each sibling says."""
    agrees: Tensor
    """(M, S, n) bool: which models give the victim's label."""

    @property
    def n_sets(self) -> int:
        """S."""
        return len(self.points)

    def n_sent(self, most: int | None) -> int:
        """How many points are sent where `most` images may be; None: all.

        Raises:
            UserError: fewer than the smallest budget.
        """
        fitting = [int(n) for n in self.budgets if most is None or n <= most]
        if not fitting:
            raise UserError(
                f"max_queries: expected room for {int(self.budgets[0])} churn points, there is some for {most}; allow "
                "more",
                argument="max_queries",
            )
        return fitting[-1]

    def row(self, n_sent: int) -> int:
        """Of `weights` and `intercepts`, that for so many points, one of the budgets."""
        return int(self.budgets.tolist().index(n_sent))

    def scores(self, agrees: Tensor, point_set: int, n_sent: int, answered: Tensor) -> Tensor:
        """(K,) float64 scores of models; NaN where no point was answered.

        Args:
            agrees: (K, n) bool: the model gives the victim's label at the points of this set.
            point_set: which one.
            n_sent: one of the budgets.
            answered: (n,) bool: points that count.
        """
        row = self.row(n_sent)
        counted = answered & (torch.arange(len(answered)) < n_sent)
        if not counted.any():
            return torch.full((len(agrees),), torch.nan, dtype=torch.float64)
        signed = (agrees[:, counted].double() - 0.5) * self.weights[row, point_set, counted]
        return signed.sum(1) + self.intercepts[row, point_set]
