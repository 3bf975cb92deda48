"""Confidence: needs neither training models nor the victim's responses."""

from dataclasses import dataclass

from torch import Tensor

from uapfp_dist.fingerprints.blocks import CLEAN, BlockKey
from uapfp_dist.fingerprints.methods.base import Candidate, Request, blocks_of
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.response_format import LABEL


@dataclass(frozen=True)
class Confidence:
    """Mean maximum confidence on clean points: never uses the victim. What it detects is the recipe."""

    description: str = "mean maximum confidence, the victim is not looked at"
    points: BlockKey = CLEAN
    """Clean ones: of D_v or of PROBE."""
    per_view: bool = True
    learned: bool = False

    def candidates(self, matrix: ResponseMatrix) -> tuple[Candidate, ...]:
        """Every format but labels, which have no confidence."""
        blocks = blocks_of(matrix, self.points)
        return tuple(Candidate((block,), fmt) for block in blocks for fmt in matrix.formats if fmt != LABEL)

    def query_blocks(self, candidate: Candidate) -> tuple[BlockKey, ...]:
        """The clean points."""
        return (self.points,)

    def score(self, request: Request) -> Tensor:
        """(S, M, V) means per view; the same for every fold."""
        confidence = request.matrix.per_model(self.points, request.candidate.format, lambda p: p.max(1).values)
        return confidence[:, request.matrix.query_index(self.points)].mean(2).expand(len(request.folds), -1, -1)
