"""Fingerprints of Eq. 6 through a contrastive encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.fingerprints.blocks import BlockKey, clean_of
from uapfp_dist.fingerprints.encoder import EncoderStack
from uapfp_dist.fingerprints.encoder_fit import EncoderTask, fit_tasks
from uapfp_dist.fingerprints.methods.base import Candidate, EncoderKey, Method, Request, blocks_of
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
    learned: bool = True

    def candidates(self, matrix: ResponseMatrix) -> tuple[Candidate, ...]:
        """All radii together, and each alone for small budgets, in every format offered."""
        blocks = tuple(blocks_of(matrix, self.perturbation))
        if not blocks:
            return ()
        joint = tuple(Candidate(blocks, fmt) for fmt in matrix.formats)
        return joint if len(blocks) == 1 else (*joint, *self.single(matrix))

    def single(self, matrix: ResponseMatrix) -> tuple[Candidate, ...]:
        """One encoder each: every radius, in every format."""
        return tuple(
            Candidate((block,), fmt) for block in blocks_of(matrix, self.perturbation) for fmt in matrix.formats
        )

    def query_blocks(self, candidate: Candidate) -> tuple[BlockKey, ...]:
        """Clean and perturbed points."""
        return tuple(dict.fromkeys((clean_of(candidate.blocks[0]), *candidate.blocks)))

    def score(self, request: Request) -> Tensor:
        """(S, M, V) cosines to the victim's fingerprint of the same view, the mean over encoders."""
        parts = self.parts(request)
        missing = {key: part for key, part in parts.items() if key not in request.memo}
        request.memo.update(fit_together(missing, request.encoder))
        found = [request.memo[key] for key in parts]
        return found[0] if len(found) == 1 else torch.stack(found).mean(0)

    def parts(self, request: Request) -> dict[EncoderKey, EncoderPart]:
        """The encoders that are averaged: of every block, in the format and the poorer ones; of one block only one."""
        candidate, most = request.candidate, request.candidate.format.n_values
        formats = [fmt for fmt in request.matrix.formats if fmt.n_values <= most]
        single = [candidate]
        if len(candidate.blocks) > 1:
            single = [Candidate((block,), fmt) for block in candidate.blocks for fmt in formats]
        name = f"{self.perturbation}/{self.other_victims_too}"
        return {(name, one): EncoderPart(self, replace(request, candidate=one)) for one in single}

    def fit(self, request: Request) -> EncoderStack:
        """The encoders of all folds."""
        return fit_tasks([self.task(request)], request.encoder)[0]

    def task(self, request: Request) -> EncoderTask:
        """What the encoders of all folds are trained on, by one block in one format."""
        block, fmt = request.candidate.block, request.candidate.format
        negatives = [fold.negatives(self.other_victims_too) for fold in request.folds]
        stolen = [(0, *fold.piracy) for fold in request.folds]
        training = sorted({row for rows in (*stolen, *negatives) for row in rows})
        label = {row: 0 for rows in stolen for row in rows} | {row: 1 for rows in negatives for row in rows}
        return EncoderTask(
            request.matrix.fingerprints(training, block, fmt),
            torch.tensor([label[row] for row in training]),
            torch.tensor([[row in s or row in n for row in training] for s, n in zip(stolen, negatives, strict=True)]),
            f"{request.seed}/{block.wire}/{fmt.wire}",
        )


@dataclass(frozen=True)
class EncoderPart:
    """Encoders of one block in one format, whose scores methods average."""

    method: EncoderMethod
    request: Request


def fit_together(
    parts: Mapping[EncoderKey, EncoderPart], config: EncoderConfig, device: torch.device | str = "cpu"
) -> dict[EncoderKey, Tensor]:
    """(S, M, V) scores of every part, whose encoders are trained together.

    Raises:
        UserError: too little memory for a single encoder.
    """
    stacks = fit_tasks((part.method.task(part.request) for part in parts.values()), config, device)
    return {
        key: similarities_to_victim(stack, part.request.matrix, part.request.candidate)
        for (key, part), stack in zip(parts.items(), stacks, strict=True)
    }


def encoder_parts(method: Method, request: Request) -> dict[EncoderKey, EncoderPart]:
    """All that `method` fits encoders for; nothing for one that has none."""
    if isinstance(method, Ensemble):
        return {key: part for one in method.methods for key, part in one.parts(request).items()}
    return method.parts(request) if isinstance(method, EncoderMethod) else {}


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
    learned: bool = True

    def candidates(self, matrix: ResponseMatrix) -> tuple[Candidate, ...]:
        """All radii together, and each alone, in every format offered."""
        return self.methods[0].candidates(matrix)

    def query_blocks(self, candidate: Candidate) -> tuple[BlockKey, ...]:
        """Clean and perturbed points."""
        return self.methods[0].query_blocks(candidate)

    def score(self, request: Request) -> Tensor:
        """(S, M, V) means over the methods."""
        return torch.stack([method.score(request) for method in self.methods]).mean(0)
