"""Build a kit from the responses of an enrolment's models. A pure function of what was read from the store."""

from collections.abc import Callable, Sequence
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
from uapfp_dist.verification.enrollment.churn_fitting import ChurnTraining, fit_churn_sets
from uapfp_dist.verification.enrollment.error_weights import ErrorWeights
from uapfp_dist.verification.enrollment.exact_fitting import exact_limits, fit_exact
from uapfp_dist.verification.enrollment.fitting import FittedScorer, fit_errors, fit_uap
from uapfp_dist.verification.enrollment.jpeg_kit import of_files
from uapfp_dist.verification.enrollment.kit_description import describe_kit, with_rates
from uapfp_dist.verification.enrollment.kit_images import KitImages, joined
from uapfp_dist.verification.enrollment.kit_rows import KitRow, causes, kit_rows
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan
from uapfp_dist.verification.enrollment.responses import EnrolledResponses
from uapfp_dist.verification.judging.suspect_scores import encoder_of, score_suspect
from uapfp_dist.verification.kit.churn_sets import ChurnSets
from uapfp_dist.verification.kit.info import MethodName
from uapfp_dist.verification.kit.input_check import choose_input_check
from uapfp_dist.verification.kit.io import with_digest
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.kit.separation import PIRACY, Separation, TrainingRows


def make_kit(
    plan: EnrollmentPlan,
    enrolled: EnrolledResponses | None,
    dataset: Dataset,
    failures: Sequence[str] = (),
    say: Callable[[str], object] = lambda line: None,
) -> Kit:
    """The kit of a plan. The same responses give the same kit, bit for bit.

    Args:
        plan: what was to be made.
        enrolled: what could be made.
        dataset: for the names of the classes.
        failures: why the rest could not.
        say: told what takes long.

    Raises:
        UserError: too few models.
    """
    if enrolled is None:
        raise UserError(
            f"enroll: expected a victim, its probe and its siblings, they could not be made ({causes(failures)})"
        )
    rows = kit_rows(plan, enrolled.models, failures)
    matrix = _response_matrix(plan, enrolled, rows)
    if plan.requirements.size == "full":
        say("fitting the scorers")
    scorers = _fit_scorers(plan, matrix, rows) if plan.requirements.size == "full" else _NO_SCORERS
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
        natural=images.position.get(NATURAL, torch.zeros(0, dtype=torch.int64)),
        log_odds_agree=scorers.weights.log_odds_agree,
        log_odds_disagree=scorers.weights.log_odds_disagree,
        agrees=torch.zeros(0, len(scorers.weights.index), dtype=torch.bool),
        views={fmt: _views(matrix, images, fitted.block) for fmt, (fitted, _) in scorers.uap.items()},
        encoders={fmt: encoder_of(stack) for fmt, (_, stack) in scorers.uap.items()},
    )
    held_out = [enrolled.models[row.reference.member.spec.id] for row in rows if row.part != "training"]
    responses = torch.stack([images.gather(one) for one in held_out])
    kit = replace(kit, input_check=choose_input_check(kit.clean, responses.argmax(2)))
    kit = _with_scores(kit, responses)
    kit = _with_churn(kit, plan, enrolled, rows)
    kit = _with_exact(kit, plan, enrolled)
    if (quality := plan.requirements.jpeg_quality) is not None:
        kit = of_files(kit, quality, enrolled)
    return with_digest(with_rates(kit))


@dataclass(frozen=True)
class _Scorers:
    """Both methods, fitted on the training models."""

    uap: dict[ResponseFormat, tuple[FittedScorer, EncoderStack]]
    errors: FittedScorer
    weights: ErrorWeights

    def chosen(self) -> dict[ResponseFormat, dict[MethodName, FittedScorer]]:
        """Format to both methods."""
        return {fmt: {"uap": fitted, "weighted_errors": self.errors} for fmt, (fitted, _) in self.uap.items()}


_NOTHING = torch.zeros(0, dtype=torch.float64)
_NO_SCORERS = _Scorers(
    {}, FittedScorer(Separation(0.0, 0.5, 0.0), ""), ErrorWeights(torch.zeros(0, dtype=torch.int64), _NOTHING, _NOTHING)
)
"""Of a light kit, whose models train nothing."""


def _with_churn(kit: Kit, plan: EnrollmentPlan, enrolled: EnrolledResponses, rows: Sequence[KitRow]) -> Kit:
    """The kit with sets of churn points, where its victim has siblings."""
    if (churn := enrolled.churn) is None:
        return kit
    agree = torch.stack([churn.labels[row.reference.member.spec.id] for row in rows]) == churn.points.labels
    by_group = {part: [i for i, row in enumerate(rows) if row.part == part] for part in ("training", "calibration")}
    stolen = [i for i in by_group["training"] if rows[i].reference.group == PIRACY]
    negatives = [i for i in by_group["training"] if rows[i].reference.group != PIRACY]
    requirements = plan.requirements
    sets = fit_churn_sets(
        agree,
        ChurnTraining(stolen, negatives) if requirements.size == "full" else None,
        churn.points,
        plan.config.churn.per_image,
        requirements.n_sets,
        requirements.n_points,
    )
    sent = sets.index.flatten()
    images = churn.points.images if churn.points.sources is None else churn.points.sources
    kit, position = _with_images(kit, images[sent], churn.points.labels[sent])
    held_out = [i for i, row in enumerate(rows) if row.part != "training"]
    return replace(
        kit,
        churn=ChurnSets(
            points=position.view_as(sets.index),
            budgets=sets.budgets,
            weights=sets.weights,
            intercepts=sets.intercepts,
            committee=churn.points.committee[sets.index],
            agrees=agree[held_out][:, sets.index],
        ),
    )


def _with_exact(kit: Kit, plan: EnrollmentPlan, enrolled: EnrolledResponses) -> Kit:
    """The kit with the exact sibling test, where one is wanted."""
    if (found := enrolled.exact) is None:
        return kit
    test, said = fit_exact(found, plan.requirements, plan.config.churn.per_image)
    union, whose = test.index.unique(return_inverse=True)
    images = found.pool.images if found.pool.sources is None else found.pool.sources
    kit, position = _with_images(kit, images[union], found.players.labels[0, union])
    return replace(
        kit,
        info=replace(kit.info, exact=said, limits=(*kit.info.limits, *exact_limits(said, kit.n_corrected()))),
        exact=replace(test, index=position[whose]),
    )


def _with_images(kit: Kit, images: Tensor, labels: Tensor) -> tuple[Kit, Tensor]:
    """The kit with (K, c, h, w) images, to which the victim gives (K,) labels, and (K,) int64: where each stands."""
    together, position = joined(kit.images, images)
    n_more = len(together) - len(kit.images)
    victim = torch.cat([kit.victim, torch.zeros(n_more, kit.n_classes)])
    victim_labels = torch.cat([kit.victim_labels, torch.zeros(n_more, dtype=torch.int64)])
    fresh = position >= len(kit.images)
    victim_labels[position[fresh]] = labels[fresh]
    victim[position[fresh], labels[fresh]] = 1.0
    return replace(kit, images=together, victim=victim, victim_labels=victim_labels), position


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
    natural = {NATURAL: scorers.weights.index} if len(scorers.weights.index) else {}
    return KitImages.of(enrolled.probe, index | natural)


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
    if not scores:
        return replace(kit, agrees=torch.zeros(len(held_out), 0, dtype=torch.bool))
    return replace(
        kit,
        agrees=torch.stack([one.agrees for one in scores[LABEL]]),
        similarity={fmt: torch.stack([one.similarity for one in found]) for fmt, found in scores.items()},
    )
