"""What every fingerprint method does."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from uapfp_dist.fingerprints.blocks import block_name
from uapfp_dist.fingerprints.resamples import TrainingSet
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.tasks.method_configs import EncoderConfig


@dataclass(frozen=True)
class Candidate:
    """One way to run a method: which answers, as probabilities or labels."""

    block: str
    """Or several, joined by `+`: encoders of every block, in the format and the poorer ones, averaged."""
    format: ResponseFormat

    @property
    def blocks(self) -> tuple[str, ...]:
        """One or several."""
        return tuple(self.block.split("+"))


@dataclass(frozen=True)
class Request:
    """What is to be scored, and what may be learnt from."""

    panel: ResponseMatrix
    candidate: Candidate
    folds: Sequence[TrainingSet]
    """S training sets; a scorer each."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    seed: str = ""
    """Names the randomness of encoders."""
    memo: dict[tuple[str, Candidate], Tensor] = field(default_factory=dict)
    """Encoders' scores of the same panel, folds and seed, so that rows that share an encoder fit it once."""


class Method(Protocol):
    """Scores models; higher means more like the victim."""

    @property
    def about(self) -> str:
        """One line for tables and reports."""

    @property
    def by_view(self) -> bool:
        """Whether scores stand per test view, or once per model."""

    def candidates(self, panel: ResponseMatrix) -> tuple[Candidate, ...]:
        """What the choice on the training models may choose from."""

    def sent(self, candidate: Candidate) -> tuple[str, ...]:
        """The blocks whose test views a suspect is sent."""

    def score(self, request: Request) -> Tensor:
        """(S, M, V) scores of all M models of the panel by S scorers, over V views (or 1)."""


def _blocks(panel: ResponseMatrix, images: str) -> list[str]:
    """The blocks of a kind of perturbation that comes in several radii, or the one of that name."""
    if images in ("uap", "random", "lap"):
        return [block_name(images, fraction) for fraction in panel.fractions]
    return [images]
