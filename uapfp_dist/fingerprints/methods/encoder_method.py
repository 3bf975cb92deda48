"""Fingerprints of Eq. 6 through a contrastive encoder."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.fingerprints.blocks import CLEAN, BlockKey
from uapfp_dist.fingerprints.encoder import EncoderStack, fit_encoders
from uapfp_dist.fingerprints.methods.base import Candidate, Request, blocks_of
from uapfp_dist.fingerprints.resamples import TrainingSet
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.tasks.method_configs import EncoderConfig

CHUNK = 2**25
"""Numbers in the fingerprints that are gathered at a time (128 MiB)."""


@dataclass(frozen=True)
class EncoderMethod:
    """Fingerprints of Eq. 6 through a contrastive encoder; methods of this class differ in what is added to the points.

    Where perturbations come in several radii, the encoders of all radii, and of the format and the poorer ones, are
    averaged: five training models a side choose a radius hardly better than chance, and encoders of different
    fingerprints err on different models.
    """

    description: str
    perturbation: str | BlockKey
    """A kind, at every radius offered, or a block."""
    other_victims_too: bool = False
    """Piracy of the other victim in the training set counts among the negatives when the encoder is trained."""
    per_view: bool = True

    def candidates(self, matrix: ResponseMatrix) -> tuple[Candidate, ...]:
        """All radii together, and each alone for small budgets, in every format offered."""
        blocks = tuple(blocks_of(matrix, self.perturbation))
        joint = tuple(Candidate(blocks, fmt) for fmt in matrix.formats)
        return joint if len(blocks) == 1 else (*joint, *self.single(matrix))

    def single(self, matrix: ResponseMatrix) -> tuple[Candidate, ...]:
        """One encoder each: every radius, in every format."""
        return tuple(
            Candidate((block,), fmt) for block in blocks_of(matrix, self.perturbation) for fmt in matrix.formats
        )

    def query_blocks(self, candidate: Candidate) -> tuple[BlockKey, ...]:
        """Clean and perturbed points."""
        return tuple(dict.fromkeys((CLEAN, *candidate.blocks)))

    def score(self, request: Request) -> Tensor:
        """(S, M, V) cosines to the victim's fingerprint of the same view, the mean over encoders."""
        blocks, most = request.candidate.blocks, request.candidate.format.n_values
        if len(blocks) == 1:
            return self._cosines(request)
        parts = [Candidate((b,), fmt) for b in blocks for fmt in request.matrix.formats if fmt.n_values <= most]
        return torch.stack([self._cosines(replace(request, candidate=part)) for part in parts]).mean(0)

    def _cosines(self, request: Request) -> Tensor:
        key = (f"{self.perturbation}/{self.other_victims_too}", request.candidate)
        if key not in request.memo:
            request.memo[key] = similarities_to_victim(self.fit(request), request.matrix, request.candidate)
        return request.memo[key]

    def fit(self, request: Request) -> EncoderStack:
        """The encoders of all folds."""
        block, fmt = request.candidate.block, request.candidate.format
        negatives = [fold.negatives(self.other_victims_too) for fold in request.folds]
        stolen = [(0, *fold.piracy) for fold in request.folds]
        training = sorted({row for rows in (*stolen, *negatives) for row in rows})
        label = {row: 0 for rows in stolen for row in rows} | {row: 1 for rows in negatives for row in rows}
        return fit_encoders(
            request.matrix.fingerprints(training, block, fmt),
            torch.tensor([label[row] for row in training]),
            torch.tensor([[row in s or row in n for row in training] for s, n in zip(stolen, negatives, strict=True)]),
            request.encoder,
            f"{request.seed}/{block.wire}/{fmt.wire}",
        )


def similarities_to_victim(encoders: EncoderStack, matrix: ResponseMatrix, candidate: Candidate) -> Tensor:
    """(S, M, V) cosines of every model's test fingerprints to the victim's, a few models at a time.

    Raises:
        UserError: fingerprints of another length than the encoders'.
    """

    def prints(rows: Sequence[int]) -> Tensor:
        return matrix.fingerprints(rows, candidate.block, candidate.format, matrix.n_test_views)

    victim, everyone = prints([0])[0], range(len(matrix.members))
    dims = len(encoders.basis)
    if victim.shape[1] != dims:
        raise UserError(
            f"encoder: expected fingerprints of the {dims} numbers it was trained on, got {victim.shape[1]}; transfer "
            "needs equal numbers of points and classes"
        )
    step = max(1, CHUNK // victim.numel())
    chunks = [encoders.similarity(prints(everyone[i : i + step]), victim) for i in everyone[::step]]
    return torch.cat(chunks, dim=1)


def transfer_scores(
    source: ResponseMatrix,
    training: TrainingSet,
    target: ResponseMatrix,
    candidate: Candidate,
    config: EncoderConfig,
    seed: str,
) -> Tensor:
    """(M, V) scores of the models of `target` by an encoder trained on `training` of `source`.

    The two may be of different data and victims, with equal numbers of points and classes: only then is a
    fingerprint of the one as long as one of the other. `candidate` names a block that both have.

    Raises:
        UserError: fingerprints of different lengths.
    """
    encoders = EncoderMethod("", candidate.block).fit(Request(source, candidate, [training], config, seed))
    return similarities_to_victim(encoders, target, candidate)[0]


@dataclass(frozen=True)
class Ensemble:
    """All encoders of several methods, averaged: nothing is chosen."""

    description: str
    methods: tuple[EncoderMethod, ...]
    per_view: bool = True

    def candidates(self, matrix: ResponseMatrix) -> tuple[Candidate, ...]:
        """All radii together, and each alone, in every format offered."""
        return self.methods[0].candidates(matrix)

    def query_blocks(self, candidate: Candidate) -> tuple[BlockKey, ...]:
        """Clean and perturbed points."""
        return self.methods[0].query_blocks(candidate)

    def score(self, request: Request) -> Tensor:
        """(S, M, V) means over the methods."""
        return torch.stack([method.score(request) for method in self.methods]).mean(0)
