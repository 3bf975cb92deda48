"""The models that are judged."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from uapfp_dist.config.removal import RemovalConfig
from uapfp_dist.config.schema import Config, ControlConfig, ModificationConfig
from uapfp_dist.evaluation.control_models import control_members
from uapfp_dist.evaluation.modified_models import modified_members
from uapfp_dist.evaluation.removal_models import removal_members
from uapfp_dist.tasks.members import Member, Role
from uapfp_dist.tasks.specs import Extracted
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan
from uapfp_dist.verification.kit.kit import Kit


@dataclass(frozen=True)
class Counts:
    """How many held-out models are modified."""

    n_stolen: int = 6
    """Held-out stolen models that are modified in every way."""
    n_negatives: int = 4
    """Held-out independent models that are modified in the same ways."""
    n_adversarial: int = 3
    """How many of each are also trained adversarially."""


def modified_suspects(
    counts: Counts, controls: ControlConfig, removal: RemovalConfig, plan: EnrollmentPlan, kit: Kit, config: Config
) -> list[Member]:
    """Held-out models as they are, modified, and the controls.

    Args:
        counts: of the models that are modified.
        controls: further models, unlike those that the kit has seen.
        removal: attacks on the evidence.
        plan: of the enrolment.
        kit: that it made.
        config: says how models are modified.
    """
    held_out = {row.model for row in kit.info.models if row.part == "test"}
    models = [model for model in plan.reference_models if model.member.spec.id in held_out]
    stolen = [m.member for m in models if m.group == "piracy"]
    homologous = [m.member for m in models if m.group == "homologous"]
    modified = _spread(stolen, counts.n_stolen)
    base = [Member(Role.VICTIM, plan.victim), *modified, *homologous[: counts.n_negatives]]
    modifications = replace(
        config.modifications,
        n_piracy=len(modified),
        n_homologous=counts.n_negatives,
        victim=True,
        n_adversarial=counts.n_adversarial,
        adversarial_iterations=ModificationConfig().adversarial_iterations,
    )
    architectures = plan.config.zoo.architectures
    return [
        *stolen,
        *homologous,
        *modified_members(modifications, base, architectures),
        *control_members(controls, [*modified, *homologous]),
        *removal_members(removal, [*_spread(stolen, removal.n_piracy), *homologous]),
    ]


def _spread(members: Sequence[Member], n: int) -> list[Member]:
    """The first of every way of stealing, then the second ones."""
    by_way: dict[str, list[Member]] = {}
    for member in members:
        assert isinstance(member.spec.origin, Extracted)
        by_way.setdefault(f"{member.spec.origin.attack}:{member.spec.origin.labels}", []).append(member)
    longest = max(map(len, by_way.values()), default=0)
    return [group[i] for i in range(longest) for group in by_way.values() if i < len(group)][:n]
