"""Agreement with the victim's labels, plain and weighted."""

from dataclasses import dataclass

import torch
from torch import Tensor

from uapfp_dist.fingerprints.blocks import NATURAL
from uapfp_dist.fingerprints.methods.base import Candidate, Request, _blocks
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.response_format import LABEL


@dataclass(frozen=True)
class MatchingRate:
    """How far a model says what the victim says, without training models: the mean probability of the victim's label.

    For labels this is the share of equal ones.
    """

    about: str
    images: str
    """`uap`, at every radius offered; else a block."""
    by_view: bool = False
    only_labels: bool = False

    def candidates(self, panel: ResponseMatrix) -> tuple[Candidate, ...]:
        """Every radius offered, in every format offered or in labels alone."""
        formats = (LABEL,) if self.only_labels else panel.formats
        return tuple(Candidate(block, fmt) for block in _blocks(panel, self.images) for fmt in formats)

    def sent(self, candidate: Candidate) -> tuple[str, ...]:
        """No clean points."""
        return (candidate.block,)

    def score(self, request: Request) -> Tensor:
        """(S, M, V) mean per view; the same for every fold."""
        panel, block = request.panel, request.candidate.block
        victims = panel.labels(block)[0]
        matching = panel.per_model(block, request.candidate.format, lambda p: p.gather(1, victims[:, None])[:, 0])
        return matching[:, panel.query_index(block)].mean(2).expand(len(request.folds), -1, -1)


@dataclass(frozen=True)
class WeightedLabels:
    """Agreement with the victim's labels, image by image, weighted by what the training models say there.

    Labels only, no encoder (protocol 3.3). On natural errors the best images are taken from those that training models
    are asked. On x + v all that the test views hold count: the same answers as `uap` in labels, so that the two tell
    what the encoder adds.
    """

    about: str
    images: str
    """`uap`, at every radius offered; else a block."""
    other_victims_too: bool = False
    by_view: bool = False

    def candidates(self, panel: ResponseMatrix) -> tuple[Candidate, ...]:
        """Labels only."""
        return tuple(Candidate(block, LABEL) for block in _blocks(panel, self.images))

    def sent(self, candidate: Candidate) -> tuple[str, ...]:
        """No clean points."""
        return (candidate.block,)

    def score(self, request: Request) -> Tensor:
        """(S, M, 1) log likelihood ratios of piracy against innocence."""
        panel, block = request.panel, request.candidate.block
        labels = panel.labels(block)
        if block != NATURAL:
            labels = labels[:, panel.query_index(block).unique()]
        agree, n = labels == labels[:1], panel.n_query_images(block)
        scores = [
            weighted_scores(agree, list(fold.piracy), list(fold.innocent(self.other_victims_too)), n)
            for fold in request.folds
        ]
        return torch.stack(scores)[:, :, None]


def weighted_scores(agree: Tensor, piracy: list[int], innocent: list[int], n_images: int) -> Tensor:
    """Naive-Bayes log odds over the `n_images` images that separate the training models best.

    Args:
        agree: (M, E) bool: the model says what the victim says.
        piracy: training rows.
        innocent: training rows.
        n_images: images asked.

    Returns:
        (M,) scores.
    """
    odds, worth = log_odds(agree, piracy, innocent)
    return odds[:, worth.argsort(descending=True, stable=True)[:n_images]].sum(1).float()


def log_odds(agree: Tensor, piracy: list[int], innocent: list[int]) -> tuple[Tensor, Tensor]:
    """What each image says of each model, and how well it separates the training models.

    With a = (agreeing piracy + .5) / (piracy + 1) and b likewise over innocents, a model gains log(a / b) where it
    agrees and log((1 - a) / (1 - b)) where it does not; an image is worth a (1 - b).

    Returns:
        (M, E) float64 log odds and (E,) worth.
    """
    a = (agree[piracy].double().sum(0) + 0.5) / (len(piracy) + 1)
    b = (agree[innocent].double().sum(0) + 0.5) / (len(innocent) + 1)
    return torch.where(agree, (a / b).log(), ((1 - a) / (1 - b)).log()), a * (1 - b)
