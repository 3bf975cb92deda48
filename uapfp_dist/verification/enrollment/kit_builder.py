"""Build a kit from the responses of an enrolment's models. A pure function of what was read from the store."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.fingerprints.blocks import CLEAN, NATURAL, BlockKey
from uapfp_dist.fingerprints.encoder import EncoderStack
from uapfp_dist.fingerprints.querying import n_query_images
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.response_format import LABEL, ResponseFormat
from uapfp_dist.tasks.members import Member, Role
from uapfp_dist.verification.enrollment.error_weights import ErrorWeights
from uapfp_dist.verification.enrollment.fitting import FittedScorer, fit_errors, fit_uap
from uapfp_dist.verification.enrollment.kit_description import describe_kit, with_rates
from uapfp_dist.verification.enrollment.kit_images import KitImages
from uapfp_dist.verification.enrollment.kit_rows import KitRow, causes, kit_rows
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan
from uapfp_dist.verification.enrollment.responses import EnrolledResponses
from uapfp_dist.verification.judging.suspect_scores import encoder_of, score_suspect
from uapfp_dist.verification.kit.info import MethodName
from uapfp_dist.verification.kit.input_check import choose_input_check
from uapfp_dist.verification.kit.io import with_digest
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.kit.separation import TrainingRows


def make_kit(
    plan: EnrollmentPlan, enrolled: EnrolledResponses | None, dataset: Dataset, failures: Sequence[str] = ()
) -> Kit:
    """The kit of a plan. The same responses give the same kit, bit for bit.

    Args:
        plan: what was to be made.
        enrolled: what could be made.
        dataset: for the names of the classes.
        failures: why the rest could not.

    Raises:
        UserError: too few models.
    """
    if enrolled is None:
        raise UserError(f"enroll: expected a victim and its probe, they could not be made ({causes(failures)})")
    rows = kit_rows(plan, enrolled.models, failures)
    matrix = _response_matrix(plan, enrolled, rows)
    scorers = _fit_scorers(plan, matrix, rows)
    images = _kit_images(enrolled, scorers)
    kit = Kit(
        digest="",
        images=images.images,
        n_classes=dataset.n_classes,
        class_names=dataset.class_names,
        victim_labels=(victim := images.gather(enrolled.victim)).argmax(1),
        clean=images.position[CLEAN].unique(),
        info=describe_kit(plan, enrolled, dataset, rows, scorers.chosen(), scorers.weights.index, len(failures)),
        victim=victim,
        natural=images.position[NATURAL],
        log_odds_agree=scorers.weights.log_odds_agree,
        log_odds_disagree=scorers.weights.log_odds_disagree,
        agrees=torch.zeros(0, len(scorers.weights.index), dtype=torch.bool),
        views={fmt: _views(matrix, images, fitted.block) for fmt, (fitted, _) in scorers.uap.items()},
        encoders={fmt: encoder_of(stack) for fmt, (_, stack) in scorers.uap.items()},
    )
    held_out = [enrolled.models[row.reference.member.spec.id] for row in rows if row.part != "training"]
    responses = torch.stack([images.gather(one) for one in held_out])
    kit = replace(kit, input_check=choose_input_check(kit.clean, responses.argmax(2)))
    return with_digest(with_rates(_with_scores(kit, responses)))


@dataclass(frozen=True)
class _Scorers:
    """Both methods, fitted on the training models."""

    uap: dict[ResponseFormat, tuple[FittedScorer, EncoderStack]]
    errors: FittedScorer
    weights: ErrorWeights

    def chosen(self) -> dict[ResponseFormat, dict[MethodName, FittedScorer]]:
        """Format to both methods."""
        return {fmt: {"uap": fitted, "weighted_errors": self.errors} for fmt, (fitted, _) in self.uap.items()}


def _response_matrix(plan: EnrollmentPlan, enrolled: EnrolledResponses, rows: Sequence[KitRow]) -> ResponseMatrix:
    members = [Member(Role.VICTIM, plan.victim), *(row.reference.member for row in rows)]
    responses = [enrolled.victim, *(enrolled.models[row.reference.member.spec.id] for row in rows)]
    return ResponseMatrix.from_responses(members, responses, enrolled.probe, plan.probe, plan.requirements.formats)


def _fit_scorers(plan: EnrollmentPlan, matrix: ResponseMatrix, rows: Sequence[KitRow]) -> _Scorers:
    by_group: dict[str, list[int]] = {}
    for i, row in enumerate(rows, start=1):
        if row.part == "training":
            by_group.setdefault(row.reference.group, []).append(i)
    training = TrainingRows(by_group)
    errors, weights = fit_errors(matrix, training, plan.requirements.n_errors)
    formats = plan.requirements.formats
    uap = {fmt: fit_uap(matrix, training, fmt, plan.config.encoder, plan.probe.id) for fmt in formats}
    return _Scorers(uap, errors, weights)


def _kit_images(enrolled: EnrolledResponses, scorers: _Scorers) -> KitImages:
    """The clean images and those of every radius that a format chose, as the test views need them, and the errors."""
    blocks = sorted({fitted.block for fitted, _ in scorers.uap.values() if fitted.block}, key=str)
    index = {key: torch.arange(n_query_images(enrolled.probe, key, "test")) for key in (CLEAN, *blocks)}
    return KitImages.of(enrolled.probe, index | {NATURAL: scorers.weights.index})


def _views(matrix: ResponseMatrix, images: KitImages, block: BlockKey | None) -> Tensor:
    """(2, V, n) int64: where the clean and the perturbed images of each test view stand."""
    assert block is not None
    n = matrix.n_test_views
    return torch.stack([images.position[CLEAN][matrix.views[:n]], images.position[block][matrix.gather[block][:n]]])


def _with_scores(kit: Kit, held_out: Tensor) -> Kit:
    """The kit with the scores of models that do not train, by the very arithmetic that suspects meet.

    Args:
        kit: without any.
        held_out: (M, Q, C) probabilities of each model.
    """
    scores = {fmt: [score_suspect(kit, fmt, probabilities) for probabilities in held_out] for fmt in kit.views}
    return replace(
        kit,
        agrees=torch.stack([one.agrees for one in scores[LABEL]]),
        similarity={fmt: torch.stack([one.similarity for one in found]) for fmt, found in scores.items()},
    )
