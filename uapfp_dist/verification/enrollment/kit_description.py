"""What a kit says of itself, from the plan and what came of it. Its sentences are part of the kit's digest."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from uapfp_dist.data import Dataset
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.tasks.specs import Imported
from uapfp_dist.verification.enrollment.derived_config import recorded_configuration
from uapfp_dist.verification.enrollment.fitting import FittedScorer
from uapfp_dist.verification.enrollment.kit_rows import KitRow
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan
from uapfp_dist.verification.enrollment.responses import EnrolledResponses
from uapfp_dist.verification.enrollment.sibling_limits import sibling_limits
from uapfp_dist.verification.judging.accusation_rates import measure_churn_rates, measure_rates
from uapfp_dist.verification.judging.limits import not_calibrated
from uapfp_dist.verification.judging.verdict import GROUPS
from uapfp_dist.verification.kit.info import (
    KitChurn,
    KitCosts,
    KitData,
    KitInfo,
    KitVictim,
    MethodChoice,
    MethodName,
    Rates,
)
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.kit.separation import PIRACY


def describe_kit(
    plan: EnrollmentPlan,
    enrolled: EnrolledResponses,
    dataset: Dataset,
    rows: Sequence[KitRow],
    fitted: Mapping[ResponseFormat, Mapping[MethodName, FittedScorer]],
    natural: Tensor,
    n_failed: int,
) -> KitInfo:
    """All but the measured rates.

    Args:
        plan: what was to be made.
        enrolled: what could be made.
        dataset: its images.
        rows: the reference models and what they are for.
        fitted: format to both methods.
        natural: (N,) int64 into the probe's natural errors: those of the kit.
        n_failed: specs that could not be made.
    """
    n_errors = int((natural < enrolled.probe.summary.natural_errors).sum())
    seconds = enrolled.training_seconds
    return KitInfo(
        alpha=plan.requirements.alpha,
        decided_by={fmt: _choice(plan, fitted.get(fmt, {})) for fmt in plan.requirements.formats},
        models=tuple(row.described() for row in rows if row.part != "training"),
        limits=_limits(plan, rows, enrolled.below_gate, n_errors, len(natural)),
        max_suspects=plan.requirements.max_suspects,
        training=dict(Counter(row.reference.group for row in rows if row.part == "training")),
        uap={f"{radius:g}": uaps for radius, uaps in enrolled.probe.summary.uaps.items()},
        data=KitData(dataset.name, dataset.digest, dataset.note),
        victim=KitVictim(plan.victim.architecture, isinstance(plan.victim.origin, Imported), enrolled.victim_accuracy),
        costs=KitCosts(len(seconds), n_failed, round(sum(seconds), 1)),
        configuration=recorded_configuration(plan.config, plan.requirements),
        seed=None if plan.seed_is_private else plan.seed,
        enrollment=plan.id,
        torch=str(torch.__version__),
        natural_errors=n_errors,
        churn=_churn(plan, enrolled),
    )


def _churn(plan: EnrollmentPlan, enrolled: EnrolledResponses) -> KitChurn | None:
    if plan.churn is None or enrolled.churn is None:
        return None
    points = enrolled.churn.points
    gate = plan.config.siblings.gate
    return KitChurn(len(plan.churn.siblings), gate, points.pool_size, points.n_departures, points.n_bases)


def with_rates(kit: Kit) -> Kit:
    """The kit with power and false accusations on models that neither trained nor calibrated, and its queries."""
    rates = measure_rates(kit)
    power: dict[ResponseFormat, dict[MethodName, Rates]] = {}
    false_accusations: dict[ResponseFormat, dict[MethodName, Rates]] = {}
    for fmt, found in rates.items():
        power[fmt] = {method: found.of(method).power for method in kit.methods}
        false_accusations[fmt] = {method: found.of(method).false_accusations for method in kit.methods}
    queries = {fmt: found.queries for fmt, found in rates.items()}
    churn = kit.info.churn and replace(kit.info.churn, rates=measure_churn_rates(kit))
    level = kit.corrected_alpha if kit.corrected_alpha != kit.alpha else None
    info = replace(
        kit.info,
        power=power,
        false_accusations=false_accusations,
        rates_level=level,
        queries=queries,
        churn=churn,
    )
    return replace(kit, info=info)


def _choice(plan: EnrollmentPlan, fitted: Mapping[MethodName, FittedScorer]) -> MethodChoice:
    """By churn where the victim has siblings; else the method that separates left-out training models better."""
    if plan.churn is not None:
        return MethodChoice(
            method="weighted_churn" if fitted else "churn",
            why="by design: to say what the victim says where it departs from its siblings is evidence",
            training={name: one.separation for name, one in fitted.items()} or None,
            variants={name: one.variant for name, one in fitted.items()} or None,
        )
    return _better(fitted)


def _better(fitted: Mapping[MethodName, FittedScorer]) -> MethodChoice:
    """The method that separates training models better when they are left out; the uap where they tie."""
    shares = ", ".join(f"{name} ({_in_words(one)}) {one.separation.caught:.0%}" for name, one in fitted.items())
    return MethodChoice(
        method=max(fitted, key=lambda name: fitted[name].separation),
        why="of the stolen training models, each left out when it was judged, it put more above every negative "
        f"({shares}; where they tie, the larger AUC, then the wider gap)",
        training={name: one.separation for name, one in fitted.items()},
        variants={name: one.variant for name, one in fitted.items()},
    )


def _in_words(fitted: FittedScorer) -> str:
    """What cross-validation chose inside a method."""
    if fitted.block is not None:
        return f"perturbations of {fitted.block.radius:g} times the paper's norm"
    return f"weighed by {fitted.variant.replace('_', ' ')}"


def _no_power(plan: EnrollmentPlan, rows: Sequence[KitRow], below_gate: Collection[str]) -> Iterator[str]:
    """Why a full kit measured no power, where it could not."""
    tests = any(row.part == "test" and row.reference.group == PIRACY for row in rows)
    if plan.requirements.size == "light" or tests:
        return
    planned = [model for model in plan.reference_models if model.group == PIRACY and model.part == "held_out"]
    if not planned:
        yield "No stolen model was held out: how much this kit catches is not known."
        return
    n_below = sum(model.member.spec.id in below_gate for model in planned)
    gate = "its gate" if n_below == 1 else "their gate"
    yield (
        f"No held-out stolen model could be made ({n_below} of {len(planned)} below {gate}): how much this kit catches "
        "is not known."
    )


def _limits(
    plan: EnrollmentPlan, rows: Sequence[KitRow], below_gate: Collection[str], n_errors: int, n_natural: int
) -> tuple[str, ...]:
    """What the kit does not cover, in plain sentences."""
    requirements = plan.requirements
    labels = ", ".join(fmt.extraction_wire for fmt in requirements.labels)
    architectures = sorted({model.member.spec.architecture for model in plan.reference_models})
    limits = []
    if requirements.size == "light":
        limits.append("Nothing was stolen from the victim: how much this kit catches is not known.")
    else:
        limits.append(
            f"Stolen models were made by {', '.join(requirements.attacks)} with {labels} labels: "
            "other attacks, and models changed after the theft, may escape."
        )
    limits.extend(_no_power(plan, rows, below_gate))
    limits.append(f"Architectures seen: {', '.join(architectures)}.")
    known = [group for group in GROUPS if plan.churn is not None or group != "sibling"]
    if missing := [group for group in known if group not in requirements.groups]:
        limits.append(not_calibrated(missing))
    if isinstance(plan.victim.origin, Imported) and plan.victim.data.victim_set is None:
        limits.append("The owner did not name her training images: half of the data were taken for them.")
    if (quality := requirements.jpeg_quality) is not None:
        limits.append(
            f"Images are JPEG files of quality {quality}, and all models were asked what Pillow reads from them: a "
            "suspect that reads them otherwise, or resizes them, may answer otherwise."
        )
    if n_errors < n_natural:
        limits.append(
            f"Of the {n_natural} images of weighted_errors {n_errors} are errors of the victim, the others its lowest "
            "margins."
        )
    return (*limits, *sibling_limits(plan))
