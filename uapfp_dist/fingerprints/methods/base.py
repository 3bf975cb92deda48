"""What every fingerprint method does."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from uapfp_dist.fingerprints.blocks import (
    CLEAN,
    CLEAN_PROBE,
    IPGUARD_K,
    IPGUARD_K_PROBE,
    NATURAL,
    BlockKey,
    join_wire,
)
from uapfp_dist.fingerprints.resamples import TrainingSet
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.tasks.method_configs import EncoderConfig


@dataclass(frozen=True)
class Candidate:
    """One variant of a method: which responses, in which format."""

    blocks: tuple[BlockKey, ...]
    """Of several, encoders of every block, in the format and the poorer ones, are averaged."""
    format: ResponseFormat

    @property
    def block(self) -> BlockKey:
        """The only one."""
        (block,) = self.blocks
        return block

    @property
    def wire(self) -> str:
        """As artifacts and reports name its blocks: `uap@0.5+uap@0.7`."""
        return join_wire(self.blocks)


EncoderKey = tuple[str, Candidate]
"""Which images and negatives an encoder is trained on, and in which block and format."""


@dataclass(frozen=True)
class Request:
    """What is to be scored, and what may be learned from."""

    matrix: ResponseMatrix
    candidate: Candidate
    folds: Sequence[TrainingSet]
    """S training sets; a scorer each."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    seed: str = ""
    """Names the randomness of encoders."""
    memo: dict[EncoderKey, Tensor] = field(default_factory=dict)
    """Encoders' scores of the same matrix, folds and seed, so that methods that share an encoder fit it once."""


class Method(Protocol):
    """Scores models; higher means more like the victim."""

    @property
    def description(self) -> str:
        """One line for tables and reports."""

    @property
    def per_view(self) -> bool:
        """Whether scores stand per test view, or once per model."""

    @property
    def learned(self) -> bool:
        """Whether it is fitted on stolen and independent models."""

    def candidates(self, matrix: ResponseMatrix) -> tuple[Candidate, ...]:
        """What may be chosen from on the training models."""

    def query_blocks(self, candidate: Candidate) -> tuple[BlockKey, ...]:
        """The blocks whose test views a suspect is sent."""

    def score(self, request: Request) -> Tensor:
        """(S, M, V) scores of all M models of the matrix by S scorers, over V views (or 1)."""


def blocks_of(matrix: ResponseMatrix, images: str | BlockKey) -> list[BlockKey]:
    """The blocks of a kind of perturbation, at every radius offered; of a block itself that one.

    None where models were not queried with all of them.
    """
    found = [images] if isinstance(images, BlockKey) else [BlockKey(images, radius) for radius in matrix.fractions]
    if images in (IPGUARD_K, IPGUARD_K_PROBE):
        found = sorted((key for key in matrix.gather if key.kind == images), key=lambda key: key.radius or 0.0)
    queried = {
        *matrix.gather,
        *matrix.churn,
        NATURAL,
        CLEAN,
        *([CLEAN_PROBE] if matrix.probe_views is not None else []),
    }
    return found if queried.issuperset(found) else []
