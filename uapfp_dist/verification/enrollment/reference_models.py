"""The models that an enrolment trains beside the victim: stolen ones of every kind, and three groups of negatives."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from uapfp_dist.attacks import ATTACKS, labels_followed
from uapfp_dist.config.schema import ExtractionConfig
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.rng import numpy_rng
from uapfp_dist.tasks.members import Member, Role, members_of
from uapfp_dist.tasks.specs import Extracted
from uapfp_dist.verification.enrollment.config import ROLES, EnrollConfig


@dataclass(frozen=True)
class ReferenceModel:
    """A model beside the victim."""

    member: Member
    group: str
    """`piracy`, or a group of negatives."""
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


def assign_reference_models(
    members: Sequence[Member], requirements: EnrollConfig, extraction: ExtractionConfig, seed: int
) -> tuple[ReferenceModel, ...]:
    """Group and part of every model; those held out of each group in a random order, of which the first calibrate.

    Args:
        members: of an evaluation with the numbers of models that `requirements` take.
        requirements: what the kit must decide.
        extraction: what attacks that craft queries are given.
        seed: of everything random.
    """
    found: list[ReferenceModel] = []
    if requirements.n_stolen:
        stolen = _with_variants(members_of(members, Role.PIRACY), requirements, extraction, seed)
        found += _assign_stolen(stolen, requirements, seed)
    for group in requirements.groups:
        negatives = members_of(members, Role(ROLES[group]))
        order = numpy_rng("enroll", seed, group).permutation(len(negatives))
        if group in ("other_victim", "sibling"):
            negatives = _with_variants(negatives, requirements, extraction, seed)
        found += [
            ReferenceModel(negatives[row], group, "training" if i < requirements.n_training else "held_out")
            for i, row in enumerate(order)
        ]
    return tuple(found)


def _assign_stolen(members: Sequence[Member], requirements: EnrollConfig, seed: int) -> Iterator[ReferenceModel]:
    """Of every extraction variant the first few, at random, train."""
    seen: dict[tuple[str, ResponseFormat] | None, int] = {}
    for row in numpy_rng("enroll", seed, "piracy").permutation(len(members)):
        model = ReferenceModel(members[row], "piracy", "training")
        number = seen[model.extraction_variant] = seen.get(model.extraction_variant, 0) + 1
        yield model if number <= requirements.n_train_piracy else replace(model, part="held_out")


def _with_variants(
    members: Sequence[Member], requirements: EnrollConfig, extraction: ExtractionConfig, seed: int
) -> list[Member]:
    """Stolen models with attacks and labels assigned evenly and at random: no architecture stands for a variant."""
    variants = [
        requirements.extraction_variants[i % len(requirements.extraction_variants)] for i in range(len(members))
    ]
    shuffled = [variants[i] for i in numpy_rng("enroll", seed, "ways", members[0].role).permutation(len(variants))]

    def extracted(member: Member, attack: str, labels: ResponseFormat) -> Member:
        origin = member.spec.origin
        assert isinstance(origin, Extracted)
        share = ATTACKS[attack].natural_share(extraction.natural_share)
        followed = labels_followed(attack, extraction.jacobian_labels)
        origin = replace(origin, attack=attack, labels=labels, natural_share=share, jacobian_labels=followed)
        return replace(member, spec=replace(member.spec, origin=origin))

    return [extracted(member, *variant) for member, variant in zip(members, shuffled, strict=True)]
