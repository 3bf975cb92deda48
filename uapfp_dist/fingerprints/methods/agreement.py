"""Agreement with the victim's labels, plain and weighted."""

from dataclasses import dataclass

import torch
from torch import Tensor

from uapfp_dist.fingerprints.blocks import NATURAL, BlockKey
from uapfp_dist.fingerprints.methods.base import Candidate, Request, blocks_of
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.response_format import LABEL


@dataclass(frozen=True)
class MatchingRate:
    """The mean probability of the victim's label; for labels, the share of equal ones. Takes no training models."""

    description: str
    images: str | BlockKey
    """A kind of perturbation, at every radius offered, or a block."""
    per_view: bool = False
    only_labels: bool = False
    learned: bool = False

    def candidates(self, matrix: ResponseMatrix) -> tuple[Candidate, ...]:
        """Every radius offered, in every format offered or in labels alone."""
        formats = (LABEL,) if self.only_labels else matrix.formats
        return tuple(Candidate((block,), fmt) for block in blocks_of(matrix, self.images) for fmt in formats)

    def query_blocks(self, candidate: Candidate) -> tuple[BlockKey, ...]:
        """No clean points."""
        return candidate.blocks

    def score(self, request: Request) -> Tensor:
        """(S, M, V) mean per view; the same for every fold."""
        matrix, block = request.matrix, request.candidate.block
        victims = matrix.labels(block)[0]
        matching = matrix.per_model(block, request.candidate.format, lambda p: p.gather(1, victims[:, None])[:, 0])
        return matching[:, matrix.query_index(block)].mean(2).expand(len(request.folds), -1, -1)


@dataclass(frozen=True)
class WeightedLabels:
    """Agreement with the victim's labels, image by image, weighted by how the training models agree there.

    Labels only, no encoder (protocol 3.3). On natural errors the best images are taken from those that training models
    are queried with. On x + v all images of the test views count: the same responses as `uap` in labels, so that the
    difference between the two is what the encoder adds.
    """

    description: str
    images: str | BlockKey
    """A kind of perturbation, at every radius offered, or a block."""
    other_victims_too: bool = False
    per_view: bool = False
    learned: bool = True

    def candidates(self, matrix: ResponseMatrix) -> tuple[Candidate, ...]:
        """Labels only."""
        return tuple(Candidate((block,), LABEL) for block in blocks_of(matrix, self.images))

    def query_blocks(self, candidate: Candidate) -> tuple[BlockKey, ...]:
        """No clean points."""
        return candidate.blocks

    def score(self, request: Request) -> Tensor:
        """(S, M, 1) log likelihood ratios of piracy against the negatives."""
        matrix, block = request.matrix, request.candidate.block
        labels = matrix.labels(block)
        if block != NATURAL:
            labels = labels[:, matrix.query_index(block).unique()]
        agree, n = labels == labels[:1], matrix.n_query_images(block)
        scores = [
            weighted_scores(agree, list(fold.piracy), list(fold.negatives(self.other_victims_too)), n)
            for fold in request.folds
        ]
        return torch.stack(scores)[:, :, None]


def weighted_scores(agree: Tensor, piracy: list[int], negative: list[int], n_images: int) -> Tensor:
    """Naive-Bayes log odds over the `n_images` images that separate the training models best.

    Args:
        agree: (M, E) bool: the model predicts what the victim predicts.
        piracy: training rows.
        negative: training rows.
        n_images: images sent.

    Returns:
        (M,) scores.
    """
    log_odds_agree, log_odds_disagree, worth = naive_bayes(agree, piracy, negative)
    log_odds = torch.where(agree, log_odds_agree, log_odds_disagree)
    return log_odds[:, worth.argsort(descending=True, stable=True)[:n_images]].sum(1).float()


def naive_bayes(agree: Tensor, piracy: list[int], negative: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Log odds of piracy that each image gives, with how well it separates the training models.

    With a = (agreeing piracy + .5) / (piracy + 1) and b likewise over negatives, the log odds are log(a / b) where
    a model agrees and log((1 - a) / (1 - b)) where it does not; an image is worth a (1 - b). Images are taken for
    independent of each other (protocol 3.3).

    Returns:
        (E,) float64 log odds where a model agrees, those where it does not, and worth.
    """
    a = (agree[piracy].double().sum(0) + 0.5) / (len(piracy) + 1)
    b = (agree[negative].double().sum(0) + 0.5) / (len(negative) + 1)
    return (a / b).log(), ((1 - a) / (1 - b)).log(), a * (1 - b)
