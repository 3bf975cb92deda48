"""Which models an enrolment trains around a victim: piracy of every kind, and three groups of innocents."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from uapfp_dist.attacks import ATTACKS
from uapfp_dist.config.schema import Config
from uapfp_dist.config.validation import check
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import make_plan
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.rng import numpy_rng
from uapfp_dist.tasks.hashing import Spec, content_id
from uapfp_dist.tasks.members import Member, Role, members_of
from uapfp_dist.tasks.scheduler import dependency_order
from uapfp_dist.tasks.specs import Extracted, Imported, ModelSpec, ProbeSpec, Recipe, ResponseSpec
from uapfp_dist.verification.enroll_config import ROLES, EnrollConfig, _check, with_model_counts


@dataclass(frozen=True)
class OwnerVictim:
    """A model that its owner brings."""

    architecture: str
    """A known name, or `package.module:factory`."""
    width: int
    """Of the nets of Table 1; others have their own."""
    origin: Imported
    victim_set: str | None = None
    """Digest of the images she trained on; None: half of D, as the seed cuts it."""
    n_images: int | None = None
    """How many those are."""

    def in_place_of(self, planned: ModelSpec) -> ModelSpec:
        """Her model's spec, on the planned victim's data."""
        recipe = Recipe("its owner's", 0, 0)
        data = replace(planned.data, victim_set=self.victim_set)
        return ModelSpec(data, self.architecture, self.width, recipe, self.origin, planned.seed)


@dataclass(frozen=True)
class ReferenceModel:
    """A model beside the victim."""

    member: Member
    group: str
    """`piracy`, or a group of innocents."""
    part: Literal["training", "held_out"]
    """Held-out models calibrate or measure; none of them trains."""

    @property
    def extraction(self) -> Extracted | None:
        """How it was stolen; None if it was not."""
        origin = self.member.spec.origin
        return origin if isinstance(origin, Extracted) else None

    @property
    def extraction_variant(self) -> tuple[str, ResponseFormat] | None:
        """(attack, what the victim gave away) of a stolen model."""
        return (self.extraction.attack, self.extraction.labels) if self.extraction else None


@dataclass(frozen=True)
class EnrollmentPlan:
    """All that is to be made for one kit."""

    config: Config
    requirements: EnrollConfig
    seed: int
    victim: ModelSpec
    reference_models: tuple[ReferenceModel, ...]
    """Those held out of each group in a random order: the first so many calibrate."""
    probe: ProbeSpec

    @property
    def id(self) -> str:
        """Content address."""
        return content_id(
            {"wanted": self.requirements, "config": self.config, "seed": self.seed, "victim": self.victim}
        )

    def response(self, supporter: ReferenceModel) -> ResponseSpec:
        """Training models answer every view, the others what a suspect is asked."""
        return ResponseSpec(supporter.member.spec, self.probe, "all" if supporter.part == "training" else "test")

    @property
    def victim_response(self) -> ResponseSpec:
        """The victim's answers to every view."""
        return ResponseSpec(self.victim, self.probe)

    @cached_property
    def specs(self) -> list[Spec]:
        """Everything to perform, in an order in which it could be."""
        return dependency_order(
            [self.victim_response, *(self.response(supporter) for supporter in self.reference_models)]
        )

    @property
    def models(self) -> list[ModelSpec]:
        """Every model, the victim and other victims counted."""
        return [spec for spec in self.specs if isinstance(spec, ModelSpec)]


def plan_enrollment(
    config: Config, wanted: EnrollConfig, seed: int, dataset: Dataset, own: OwnerVictim | None = None
) -> EnrollmentPlan:
    """The models, probe and answers for one kit; every random choice follows from the seed.

    Args:
        config: data, zoo, extraction, UAP, fingerprint and encoder as in an evaluation; numbers of models are set here.
        wanted: what the kit must decide.
        seed: of everything.
        dataset: its images.
        own: the owner's model; None trains the victim of `config`.

    Raises:
        UserError: unknown names, impossible numbers.
    """
    _check(wanted)
    if odd := [name for name in dataset.class_names if not name.isprintable()]:
        raise UserError(f"data: expected names of classes that can be printed, got {ascii(odd[0])[:60]}; rename it")
    n_d = dataset.n_train if dataset.n_train is not None else int(len(dataset.labels) * config.data.train_share)
    # Epochs and budget are multiples of half of D there, of what she trained on here.
    config = with_model_counts(config, wanted, own.n_images / (n_d // 2) if own and own.n_images else 1.0)
    check(config)
    plan = make_plan(config, seed, dataset)
    planned = plan.members[0].spec
    victim = own.in_place_of(planned) if own else planned

    def owned(spec: ModelSpec) -> ModelSpec:
        return _owned(spec, planned, victim)

    def of_role(role: Role) -> list[Member]:
        return [replace(m, spec=owned(m.spec)) for m in members_of(plan.members, role)]

    pirates = _in_ways(of_role(Role.PIRACY), config, wanted, seed)
    supporters = [*_dealt_piracy(pirates, wanted, seed)]
    for group in wanted.groups:
        order = numpy_rng("enroll", seed, group).permutation(config.zoo.n_homologous)
        members = of_role(Role(ROLES[group]))
        if group == "other_victim":
            members = _in_ways(members, config, wanted, seed)
        supporters += [
            ReferenceModel(members[row], group, "training" if i < wanted.n_train else "held_out")
            for i, row in enumerate(order)
        ]
    probe = ProbeSpec(victim, config.uap, config.fingerprint, seed)
    return EnrollmentPlan(config, wanted, seed, victim, tuple(supporters), probe)


def _owned(spec: ModelSpec, planned: ModelSpec, victim: ModelSpec) -> ModelSpec:
    """`spec` with the owner's victim, architecture and data in the place of the planned ones."""
    if spec == planned:
        return victim
    same = spec.architecture == planned.architecture
    architecture, width = (victim.architecture, victim.width) if same else (spec.architecture, spec.width)
    origin, gate = spec.origin, spec.gate
    if isinstance(origin, Extracted):
        origin = replace(origin, victim=_owned(origin.victim, planned, victim))
    if gate is not None:
        gate = replace(gate, reference=_owned(gate.reference, planned, victim))
    return replace(spec, data=victim.data, architecture=architecture, width=width, origin=origin, gate=gate)


def _in_ways(members: list[Member], config: Config, wanted: EnrollConfig, seed: int) -> list[Member]:
    """Stolen models with attacks and labels dealt evenly and at random, so that no architecture stands for a way."""
    ways = [wanted.extraction_variants[i % len(wanted.extraction_variants)] for i in range(len(members))]
    dealt = [ways[i] for i in numpy_rng("enroll", seed, "ways", members[0].role).permutation(len(ways))]

    def stolen(member: Member, attack: str, labels: ResponseFormat) -> Member:
        origin = member.spec.origin
        assert isinstance(origin, Extracted)
        share = ATTACKS[attack].natural_share(config.extraction.natural_share)
        origin = replace(origin, attack=attack, labels=labels, natural_share=share)
        return replace(member, spec=replace(member.spec, origin=origin))

    return [stolen(member, *way) for member, way in zip(members, dealt, strict=True)]


def _dealt_piracy(members: list[Member], wanted: EnrollConfig, seed: int) -> Iterator[ReferenceModel]:
    """Of every way the first few, at random, train."""
    taken: dict[tuple[str, ResponseFormat] | None, int] = {}
    for row in numpy_rng("enroll", seed, "piracy").permutation(len(members)):
        supporter = ReferenceModel(members[row], "piracy", "training")
        number = taken[supporter.extraction_variant] = taken.get(supporter.extraction_variant, 0) + 1
        yield supporter if number <= wanted.n_train_piracy else replace(supporter, part="held_out")
