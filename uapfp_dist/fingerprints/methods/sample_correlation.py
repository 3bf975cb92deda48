"""SAC: correlations between responses to misclassified images (Guan et al., NeurIPS 2022)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from uapfp_dist.fingerprints.blocks import NATURAL, BlockKey
from uapfp_dist.fingerprints.methods.base import Candidate, Request
from uapfp_dist.fingerprints.resamples import TrainingSet
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix


@dataclass(frozen=True)
class SampleCorrelation:
    """How a model's responses to misclassified images resemble each other.

    The distance between two models is the mean absolute difference of their matrices of cosines between responses,
    which no permutation of classes changes.
    """

    description: str = "SAC-source: cosines between answers to the victim's natural errors, compared with the victim's"
    in_common: bool = False
    """SAC-w: the images are those that the victim and the stolen models of the training set get wrong in common."""
    per_view: bool = False

    @property
    def learned(self) -> bool:
        """Only in the choice of images."""
        return self.in_common

    def candidates(self, matrix: ResponseMatrix) -> tuple[Candidate, ...]:
        """Every format offered; none where true labels are needed and not known."""
        known = not self.in_common or matrix.natural_truth is not None
        return tuple(Candidate((NATURAL,), fmt) for fmt in matrix.formats) if known else ()

    def query_blocks(self, candidate: Candidate) -> tuple[BlockKey, ...]:
        """Natural errors."""
        return (NATURAL,)

    def score(self, request: Request) -> Tensor:
        """(S, M, 1) minus the distance to the victim, at most 0; without `in_common` the same for every fold."""
        matrix = request.matrix
        if not self.in_common:
            first = matrix.query_index(NATURAL)[0]
            return self._distances(request, first).expand(len(request.folds), -1, -1)
        return torch.cat([self._distances(request, common_errors(matrix, fold)) for fold in request.folds])

    @staticmethod
    def _distances(request: Request, index: Tensor) -> Tensor:
        """(1, M, 1), on the images of `index` alone."""

        def correlation(responses: Tensor) -> Tensor:
            unit = F.normalize(responses[index], dim=1)
            return unit @ unit.T

        matrices = request.matrix.per_model(NATURAL, request.candidate.format, correlation)
        return -(matrices - matrices[:1]).abs().mean((1, 2))[None, :, None]


def common_errors(matrix: ResponseMatrix, training: TrainingSet) -> Tensor:
    """(n,) int64 of the images of `natural`: as many as a suspect is sent, most often got wrong by the stolen models.

    Errors of the victim come before images that it gets right, whatever the others do.
    """
    assert matrix.natural_truth is not None
    wrong = matrix.labels(NATURAL) != matrix.natural_truth
    often = wrong[list(training.piracy)].sum(0) + wrong[0] * (len(training.piracy) + 1)
    return often.argsort(descending=True, stable=True)[: matrix.n_query_images(NATURAL)]
