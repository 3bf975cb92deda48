"""Agreement with the victim where it disagrees with its siblings, plain and weighted: labels alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from uapfp_dist.fingerprints.blocks import BlockKey
from uapfp_dist.fingerprints.churn_weights import fit_churn_weights
from uapfp_dist.fingerprints.methods.base import Candidate, Request
from uapfp_dist.fingerprints.resamples import TrainingSet
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.response_format import LABEL


@dataclass(frozen=True)
class _OnChurnPoints:
    """A method that queries the churn points of one pool, for labels."""

    description: str
    pool: BlockKey
    per_view: bool = False
    learned: bool = False

    def candidates(self, matrix: ResponseMatrix) -> tuple[Candidate, ...]:
        """Labels only; nothing where there are no siblings."""
        return (Candidate((self.pool,), LABEL),) if self.pool in matrix.churn else ()

    def query_blocks(self, candidate: Candidate) -> tuple[BlockKey, ...]:
        """The churn points."""
        return candidate.blocks


class Churn(_OnChurnPoints):
    """The share of the churn points, those of the victim's largest margin, at which a model says what the victim says.

    Nothing is learned: no stolen model is needed.
    """

    def score(self, request: Request) -> Tensor:
        """(S, M, 1) shares; the same for every fold."""
        labels = request.matrix.churn[self.pool][:, request.matrix.first_churn(self.pool)]
        agree = (labels == labels[:1]).float().mean(1)
        return agree[None, :, None].expand(len(request.folds), -1, -1)


@dataclass(frozen=True)
class WeightedChurn(_OnChurnPoints):
    """Log odds by a logistic regression on the training models, over the points that separate them best.

    Its points are chosen from all that models are queried with, anew in every fold.
    """

    learned: bool = True
    from_siblings: bool = True
    """Whether models stolen from siblings are among its training negatives."""

    def score(self, request: Request) -> Tensor:
        """(S, M, 1) log odds of piracy against the training negatives."""
        matrix = request.matrix
        agree = matrix.churn[self.pool] == matrix.churn[self.pool][:1]
        points = matrix.churn_candidates[self.pool], matrix.n_churn
        scores = [
            fit_churn_weights(agree, fold.piracy, self._negatives(fold), *points).scores(agree)
            for fold in request.folds
        ]
        return torch.stack(scores).float()[:, :, None]

    def _negatives(self, fold: TrainingSet) -> tuple[int, ...]:
        return fold.negatives(True) + (fold.sibling if self.from_siblings else ())
