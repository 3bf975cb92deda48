"""What a kit is made of: everything that an enrolment put into the store, read once."""

from collections.abc import Collection
from dataclasses import dataclass

from torch import Tensor

from uapfp_dist.execution.churn_artifacts import read_churn, read_labels
from uapfp_dist.execution.probe_artifacts import read_probe, read_responses
from uapfp_dist.fingerprints.blocks import CHURN
from uapfp_dist.fingerprints.churn import ChurnPoints
from uapfp_dist.fingerprints.probe_data import Probe, Responses
from uapfp_dist.storage.store import Store
from uapfp_dist.verification.enrollment.exact_fitting import EnrolledExact, read_exact
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan


@dataclass(frozen=True)
class EnrolledResponses:
    """The artifacts of a plan that could be made; without a victim's there is no kit."""

    probe: Probe
    victim: Responses
    models: dict[str, Responses]
    """Id of a reference model to its responses, in the order of the plan."""
    victim_accuracy: float
    training_seconds: tuple[float, ...]
    """Of every model that could be made."""
    churn: "EnrolledChurn | None" = None
    """None where the victim has no siblings."""
    exact: EnrolledExact | None = None
    """None where no exact test is wanted."""
    below_gate: frozenset[str] = frozenset()
    """Ids of reference models that could not be made since no attempt reached their gate."""


@dataclass(frozen=True)
class EnrolledChurn:
    """Churn points, and what models say there."""

    points: ChurnPoints
    """E of them."""
    labels: dict[str, Tensor]
    """Id of a reference model to its (E,) int64 labels."""


def read_enrolled(plan: EnrollmentPlan, store: Store) -> EnrolledResponses | None:
    """Probe, responses and what a kit tells of the cards; None where victim or probe could not be made."""
    first = [plan.victim_response, *([plan.churn] if plan.churn else [])]
    if not all(store.intact(*spec.artifact) for spec in first):
        return None
    ids = {
        model.member.spec.id: plan.response(model).id
        for model in plan.reference_models
        if all(store.intact(*spec.artifact) for spec in plan.responses(model))
    }
    probe = store.get("probe", plan.probe.id)
    victim = store.get("answers", plan.victim_response.id)
    models = {key: store.get("answers", at) for key, at in ids.items()}
    cards = {spec.id: store.get("model", spec.id).info for spec in plan.models if store.has("model", spec.id)}
    return EnrolledResponses(
        probe=read_probe(probe),
        victim=read_responses(victim),
        models={key: read_responses(artifact) for key, artifact in models.items()},
        victim_accuracy=cards[plan.victim.id]["accuracy"],
        training_seconds=tuple(card["seconds"] for card in cards.values()),
        churn=_read_churn(plan, store, ids),
        exact=read_exact(plan.exact, plan.requirements, store),
        below_gate=frozenset(
            model.member.spec.id
            for model in plan.reference_models
            if model.member.spec.id not in ids and store.intact("below_gate", model.member.spec.id)
        ),
    )


def _read_churn(plan: EnrollmentPlan, store: Store, models: Collection[str]) -> EnrolledChurn | None:
    if plan.churn is None:
        return None
    specs = [plan.churn_response(m.member.spec) for m in plan.reference_models if m.member.spec.id in models]
    labels = {spec.model.id: read_labels(store.get(*spec.artifact))[CHURN] for spec in specs if spec}
    return EnrolledChurn(read_churn(store.get(*plan.churn.artifact))[CHURN], labels)
