"""What a kit is made of: everything that an enrolment put into the store, read once."""

from dataclasses import dataclass

from uapfp_dist.execution.probe_artifacts import read_probe, read_responses
from uapfp_dist.fingerprints.probe_data import Probe, Responses
from uapfp_dist.storage.store import Store
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


def read_enrolled(plan: EnrollmentPlan, store: Store) -> EnrolledResponses | None:
    """Probe, responses and what a kit tells of the cards; None where victim or probe could not be made."""
    if not store.intact("answers", plan.victim_response.id):
        return None
    ids = {model.member.spec.id: plan.response(model).id for model in plan.reference_models}
    probe = store.get("probe", plan.probe.id)
    victim = store.get("answers", plan.victim_response.id)
    models = {key: store.get("answers", at) for key, at in ids.items() if store.intact("answers", at)}
    cards = {spec.id: store.get("model", spec.id).info for spec in plan.models if store.has("model", spec.id)}
    return EnrolledResponses(
        probe=read_probe(probe),
        victim=read_responses(victim),
        models={key: read_responses(artifact) for key, artifact in models.items()},
        victim_accuracy=cards[plan.victim.id]["accuracy"],
        training_seconds=tuple(card["seconds"] for card in cards.values()),
    )
