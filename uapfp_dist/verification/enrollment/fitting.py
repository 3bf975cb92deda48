"""Fit the scorers of a kit on the training models, each in the variant that does best on those left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uapfp_dist.fingerprints.blocks import NATURAL, BlockKey
from uapfp_dist.fingerprints.encoder import EncoderStack
from uapfp_dist.fingerprints.methods.base import Candidate, Request
from uapfp_dist.fingerprints.methods.encoder_method import EncoderMethod
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.tasks.method_configs import EncoderConfig
from uapfp_dist.verification.enrollment.error_weights import WEIGHINGS, ErrorWeights
from uapfp_dist.verification.kit.separation import Fold, Separation, TrainingRows

UAP = EncoderMethod("UAPs in turn over the views", "uap", other_victims_too=True)
"""The paper's method; every group of negatives counts, since a suspect may be of any of them."""


@dataclass(frozen=True)
class FittedScorer:
    """A method that was fitted in one format, and how it did on training models left out."""

    separation: Separation
    variant: str
    """What cross-validation chose inside the method: the block of the UAPs, or how errors are weighed."""
    block: BlockKey | None = None
    """Of the encoder, that block."""


def fit_uap(
    matrix: ResponseMatrix, rows: TrainingRows, fmt: ResponseFormat, config: EncoderConfig, seed: str
) -> tuple[FittedScorer, EncoderStack]:
    """The encoder for one format, at the radius that does best on training models left out."""
    folds = list(rows.folds())
    best: tuple[FittedScorer, EncoderStack] | None = None
    for candidate in UAP.single(matrix):
        if candidate.format != fmt:
            continue
        sets = [rows.training(), *(fold.training for fold in folds)]
        stack = UAP.fit(Request(matrix, candidate, sets, config, seed))
        separation = Separation.of(_left_out_similarity(matrix, candidate, stack, folds))
        if best is None or separation > best[0].separation:
            best = FittedScorer(separation, candidate.wire, candidate.block), stack
    assert best is not None
    return best


def _left_out_similarity(
    matrix: ResponseMatrix, candidate: Candidate, stack: EncoderStack, folds: Sequence[Fold]
) -> dict[str, Tensor]:
    """Group to the scores of its models, each by the encoder that was not fitted on it."""
    n = matrix.n_test_views
    victim = matrix.fingerprints([0], candidate.block, candidate.format, n)[0]
    found: dict[str, list[Tensor]] = {}
    for i, fold in enumerate(folds, start=1):
        for group, rows in fold.left_out.items():
            prints = matrix.fingerprints(rows, candidate.block, candidate.format, n)
            found.setdefault(group, []).append(stack.similarity(prints, victim)[i].mean(1))
    return {group: torch.cat(scores) for group, scores in found.items()}


def fit_errors(matrix: ResponseMatrix, rows: TrainingRows, n_images: int) -> tuple[FittedScorer, ErrorWeights]:
    """Weighted natural errors, in the variant that does best on training models left out.

    Labels only, so the same for every format.
    """
    labels = matrix.labels(NATURAL)
    agree = labels == labels[:1]
    best: FittedScorer | None = None
    for variant, weigh in WEIGHINGS.items():
        scores: dict[str, list[Tensor]] = {}
        for fold in rows.folds():
            found = weigh(agree, fold.training, n_images).score(agree)
            for group, left in fold.left_out.items():
                scores.setdefault(group, []).append(found[left])
        separation = Separation.of({group: torch.cat(parts) for group, parts in scores.items()})
        if best is None or separation > best.separation:
            best = FittedScorer(separation, variant)
    assert best is not None
    return best, WEIGHINGS[best.variant](agree, rows.training(), n_images)
