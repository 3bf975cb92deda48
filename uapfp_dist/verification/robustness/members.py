"""The models that are judged."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from uapfp_dist.config.schema import Config
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.control_models import control_members
from uapfp_dist.evaluation.modified_models import modified_members
from uapfp_dist.evaluation.removal_models import removal_members
from uapfp_dist.tasks.members import Member, Role
from uapfp_dist.tasks.specs import Extracted
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan
from uapfp_dist.verification.kit.kit import Kit

SET_BY_COUNTS = (
    "modifications.n_piracy", "modifications.n_homologous", "modifications.victim", "modifications.n_adversarial",
)  # fmt: skip
"""Fields of a configuration that `Counts` stands for."""


@dataclass(frozen=True)
class Counts:
    """How many held-out models are modified."""

    n_stolen: int = 6
    """Held-out stolen models that are modified in every way."""
    n_negatives: int = 4
    """Held-out independent models that are modified in the same ways."""
    n_adversarial: int = 3
    """How many of each are also trained adversarially."""


def modified_suspects(counts: Counts, config: Config, plan: EnrollmentPlan, kit: Kit) -> list[Member]:
    """Held-out models as they are, modified, and the controls.

    Args:
        counts: of the models that are modified.
        config: how models are modified; controls, unlike what the kit has seen; attacks on the evidence.
        plan: of the enrolment.
        kit: that it made.

    Raises:
        UserError: none of the kit's held-out models is one of the plan.
    """
    held_out = {row.model for row in kit.info.models if row.part == "test"}
    models = [model for model in plan.reference_models if model.member.spec.id in held_out]
    if held_out and not models:
        raise UserError(
            f"out: expected a kit whose held-out models this enrolment makes, it makes none of the {len(held_out)} of "
            "the kit there, as of one for a model of your own; name another folder",
            argument="out",
        )
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
    )
    architectures = plan.config.zoo.architectures
    return [
        *stolen,
        *homologous,
        *modified_members(modifications, base, architectures),
        *control_members(config.controls, [*modified, *homologous]),
        *removal_members(config.removal, [*_spread(stolen, config.removal.n_piracy), *homologous]),
    ]


def _spread(members: Sequence[Member], n: int) -> list[Member]:
    """The first of every way of stealing, then the second ones."""
    by_way: dict[str, list[Member]] = {}
    for member in members:
        assert isinstance(member.spec.origin, Extracted)
        by_way.setdefault(f"{member.spec.origin.attack}:{member.spec.origin.labels}", []).append(member)
    longest = max(map(len, by_way.values()), default=0)
    return [group[i] for i in range(longest) for group in by_way.values() if i < len(group)][:n]
