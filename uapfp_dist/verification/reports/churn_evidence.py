"""How the evidence of churn points adds up: what was said at each, in the order in which it counts."""

from dataclasses import dataclass

import torch
from torch import Tensor

from uapfp_dist.verification.kit.churn_sets import ChurnSets
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.replay import JudgedSuspect


@dataclass(frozen=True)
class ChurnAnswers:
    """The churn points that one suspect answered, those of the largest weight first; P of them."""

    sets: ChurnSets
    point_set: int
    """Which set it was sent."""
    n_sent: int
    """How many points of it."""
    at: Tensor
    """(P,) int64 into the set."""
    images: Tensor
    """(P,) int64 into the kit's images."""
    victim: Tensor
    """(P,) int64 labels."""
    suspect: Tensor
    """(P,) int64 labels."""

    @staticmethod
    def of(kit: Kit, case: JudgedSuspect) -> "ChurnAnswers | None":
        """None for a kit without churn points, or a suspect that answered none of them."""
        if kit.churn is None or case.verdict.churn is None:
            return None
        sets, point_set = kit.churn, case.verdict.churn.point_set
        n_sent = kit.n_churn_points(case.begin.max_queries, bool(case.begin.exact))
        weights = sets.weights[sets.row(n_sent), point_set, :n_sent]
        order = weights.argsort(descending=True, stable=True)
        at = order[case.probabilities[sets.points[point_set, order]].isfinite().all(1)]
        if not len(at):
            return None
        images = sets.points[point_set, at]
        labels = case.probabilities[images].argmax(1)
        return ChurnAnswers(sets, point_set, n_sent, at, images, kit.victim_labels[images], labels)

    @property
    def agrees(self) -> Tensor:
        """(P,) bool: the suspect gives the victim's label."""
        return self.suspect == self.victim

    @property
    def committee(self) -> Tensor:
        """(P, m) int64: what each sibling says."""
        return self.sets.committee[self.point_set, self.at]

    @property
    def models_agree(self) -> Tensor:
        """(M, P) bool: which models of the kit give the victim's label."""
        return self.sets.agrees[:, self.point_set, self.at]

    def running_scores(self, agrees: Tensor, *, from_below: bool) -> Tensor:
        """(K, P) float64: the score after each point; the last one is that of the verdict, but for its rounding.

        Args:
            agrees: (K, P) bool.
            from_below: begin with the score of whoever agrees nowhere, which no disagreement lowers; else every point
                counts for or against.
        """
        row = self.sets.row(self.n_sent)
        weights = self.sets.weights[row, self.point_set, self.at]
        begin = self.sets.intercepts[row, self.point_set]
        if from_below:
            return (agrees.double() * weights).cumsum(1) + (begin - 0.5 * weights.sum())
        return ((agrees.double() - 0.5) * weights).cumsum(1) + begin


def count_labels(labels: Tensor) -> list[tuple[int, int]]:
    """(label, how many give it), the most frequent first; equal ones by label."""
    found, counts = torch.unique(labels, return_counts=True)
    return sorted(zip(found.tolist(), counts.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))
