"""The models that an owner brings, as specs in the plan: the victim, and its siblings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from uapfp_dist.errors import UserError
from uapfp_dist.tasks.members import Member, Role, members_of
from uapfp_dist.tasks.specs import Extracted, Gate, Imported, ModelSpec, OwnerTrained, Recipe
from uapfp_dist.verification.enrollment.config import EnrollConfig

NO_SIBLINGS = (
    "no siblings: weighted_churn and the group sibling are left out; give train or siblings, and trained_on, which are "
    "what a model of your own needs for them"
)


@dataclass(frozen=True)
class OwnerVictim:
    """A model that its owner brings."""

    architecture: str
    """A known name, or `package.module:factory`."""
    width: int
    """Of the nets of Table 1; others have their own."""
    origin: Imported
    victim_set: str | None = None
    """Digest of the images that it was trained on; None: half of D, as the seed cuts it."""
    n_images: int | None = None
    """How many those are."""
    source: str = ""
    """Of the file of its factory, as `ModelSpec` has it."""
    siblings: OwnerTrained | tuple[Imported, ...] = ()
    """By a function of the owner's as many as are needed, or those that the owner brings; none without `victim_set`."""

    def in_place_of(self, members: Sequence[Member]) -> list[Member]:
        """The models of a plan with the owner's in the place of the planned victim and siblings.

        Args:
            members: of the plan, its victim first.

        Raises:
            UserError: too few siblings.
        """
        planned = members[0].spec
        victim = self._model(planned, self.origin)
        siblings = [member.spec for member in members_of(members, Role.SIBLING)]
        n_outside = len(members_of(members, Role.SIBLING_PIRACY))
        own = self._siblings(siblings, len(siblings) - n_outside, planned.seed)
        replaced = {spec.id: mine for spec, mine in zip([planned, *siblings], [victim, *own], strict=True)}
        return [replace(member, spec=_with_owned(member.spec, planned, replaced)) for member in members]

    def _model(self, planned: ModelSpec, origin: Imported | OwnerTrained) -> ModelSpec:
        """Of the owner's, on the data of a planned model."""
        data = replace(planned.data, victim_set=self.victim_set)
        recipe = Recipe("its owner's", 0, 0)
        return ModelSpec(data, self.architecture, self.width, recipe, origin, planned.seed, planned.gate, self.source)

    def _siblings(self, planned: Sequence[ModelSpec], n_committee: int, seed: int) -> list[ModelSpec]:
        if isinstance(self.siblings, OwnerTrained):
            return [self._model(spec, self.siblings) for spec in planned]
        if len(self.siblings) < len(planned):
            n_outside = len(planned) - n_committee
            parts, remedy = " for the committee", "or lower n_committee"
            if n_outside:
                parts = f" ({n_committee} for the committee, {n_outside} outside it for the group sibling)"
                remedy = "lower n_committee, n_train or n_test, or leave the group sibling out"
            raise UserError(
                f"siblings: expected {len(planned)} files{parts}, got {len(self.siblings)}; give more, {remedy}",
                argument="siblings",
                options=("n_committee", "n_train", "n_test"),
            )
        same_seed = [replace(spec, seed=seed) for spec in planned]  # a file is one model, wherever it stands
        return [self._model(*pair) for pair in zip(same_seed, self.siblings[: len(planned)], strict=True)]


def _with_owned(spec: ModelSpec, planned: ModelSpec, replaced: Mapping[str, ModelSpec]) -> ModelSpec:
    """`spec` with the owner's models, the victim's architecture and its data in the place of the planned ones.

    Args:
        spec: any model of a plan.
        planned: its victim.
        replaced: ids of its victim and siblings to the owner's.
    """
    if spec.id in replaced:
        return replaced[spec.id]
    victim = replaced[planned.id]
    same = spec.architecture == planned.architecture
    like = victim if same else spec
    origin, gate = spec.origin, spec.gate
    if isinstance(origin, Extracted):
        origin = replace(origin, victim=_with_owned(origin.victim, planned, replaced))
    if isinstance(gate, Gate):
        gate = replace(gate, reference=_with_owned(gate.reference, planned, replaced))
    made = replace(spec, data=victim.data, origin=origin, gate=gate)
    return replace(made, architecture=like.architecture, width=like.width, source=like.source)


def achievable(requirements: EnrollConfig, victim: OwnerVictim | None) -> EnrollConfig:
    """The same without what takes siblings, where the owner brings a victim without any.

    Raises:
        UserError: a light kit, or the group sibling among others than all groups, the default.
    """
    if victim is None or victim.siblings:
        return requirements
    if requirements.size == "light":
        raise UserError(
            "size: expected full for a model of your own without siblings, got light, which decides by them; give "
            "train or siblings, and trained_on",
            argument="size",
        )
    if "sibling" in requirements.groups and requirements.groups != EnrollConfig().groups:
        raise UserError(
            "groups: expected others than sibling for a model of your own without siblings, got "
            f"{', '.join(requirements.groups)}; give train or siblings, and trained_on, or leave it out",
            argument="groups",
        )
    groups = tuple(group for group in requirements.groups if group != "sibling")
    return replace(requirements, groups=groups, n_committee=0)
