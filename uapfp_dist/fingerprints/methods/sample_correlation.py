"""SAC: correlations between responses to the victim's natural errors (Guan et al., NeurIPS 2022)."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from uapfp_dist.fingerprints.blocks import NATURAL, BlockKey
from uapfp_dist.fingerprints.methods.base import Candidate, Request
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix


@dataclass(frozen=True)
class SampleCorrelation:
    """SAC-w (Guan et al., NeurIPS 2022): how a model's responses to the victim's errors resemble each other.

    The distance between two models is the mean absolute difference of their matrices of cosines between responses,
    which no permutation of classes changes.
    """

    description: str = "cosines between the answers to the victim's natural errors, compared with the victim's (SAC-w)"
    per_view: bool = False
    learned: bool = False

    def candidates(self, matrix: ResponseMatrix) -> tuple[Candidate, ...]:
        """Every format offered."""
        return tuple(Candidate((NATURAL,), fmt) for fmt in matrix.formats)

    def query_blocks(self, candidate: Candidate) -> tuple[BlockKey, ...]:
        """Natural errors."""
        return (NATURAL,)

    def score(self, request: Request) -> Tensor:
        """(S, M, 1) minus the distance to the victim, at most 0; the same for every fold."""
        index = request.matrix.query_index(NATURAL)[0]

        def correlation(responses: Tensor) -> Tensor:
            unit = F.normalize(responses[index], dim=1)
            return unit @ unit.T

        matrices = request.matrix.per_model(NATURAL, request.candidate.format, correlation)
        return -(matrices - matrices[:1]).abs().mean((1, 2))[None, :, None].expand(len(request.folds), -1, -1)
