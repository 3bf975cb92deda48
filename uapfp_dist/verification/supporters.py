"""Which models an enrolment trains around a victim: piracy of every kind, and three groups of innocents."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any, Literal

from uapfp_dist.config import Config, ExtractionConfig, VerdictConfig, check, preset
from uapfp_dist.errors import UserError, known
from uapfp_dist.pipeline.plan import in_order, make_plan, members_of
from uapfp_dist.science.blackbox import check_labels, k_of
from uapfp_dist.science.data import Dataset
from uapfp_dist.science.extraction import EXTRACTIONS
from uapfp_dist.science.rng import numpy_rng
from uapfp_dist.science.verdict import needed_for
from uapfp_dist.specs import AnswerSpec, Extracted, Imported, ModelSpec, ProbeSpec, Recipe, Spec, content_id
from uapfp_dist.types import Member

ROLES = {"homologous": "homologous", "same_data": "same_data", "other_victim": "calibration_piracy"}
"""Group of innocents to its role in a plan."""


@dataclass(frozen=True)
class EnrollConfig:
    """What the kit must decide, and the models that it takes."""

    alpha: float = 0.05
    """Tolerated rate of false accusation."""
    max_suspects: int = 1
    """Suspects that may be judged at once: each group of innocents has ceil(max_suspects / alpha) - 1 models."""
    groups: tuple[str, ...] = tuple(ROLES)
    """Innocents to calibrate against: homologous, same_data (trained on exactly the victim's images), other_victim
    (stolen from another victim each). What is left out is not covered, and the kit says so."""
    attacks: tuple[str, ...] = ("cloudleak", "jacobian", "knockoff")
    """Extraction attacks that stolen models come from."""
    labels: tuple[str, ...] = ("hard", "soft")
    """What victims answer those who steal: hard, soft, top3 (any number)."""
    formats: tuple[str, ...] = ("prob", "top3", "hard")
    """What suspects may be judged by: prob, top3 (any number), hard; labels always."""
    n_errors: int = 100
    """Natural errors and lowest margins that a suspect is asked, chosen among fingerprint.max_natural."""
    n_train: int = 8
    """Innocents of each group that train the scorers."""
    n_train_piracy: int = 3
    """Stolen models of each attack and kind of labels that train them."""
    n_test: int = 4
    """Innocents of each group that measure false accusation; they stand in for calibration models that fail."""
    n_test_piracy: int = 4
    """Stolen models of each attack and kind of labels that measure power."""

    @property
    def n_calibrate(self) -> int:
        """Calibration models per group."""
        return needed_for(self.alpha / self.max_suspects)

    @property
    def ways(self) -> tuple[tuple[str, str], ...]:
        """(attack, labels) of stolen models."""
        return tuple(product(self.attacks, self.labels))


@dataclass(frozen=True)
class OwnVictim:
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
class Supporter:
    """A model beside the victim."""

    member: Member
    group: str
    """`piracy`, or a group of innocents."""
    part: Literal["training", "held_out"]
    """Held-out models calibrate or measure; none of them trains."""

    @property
    def way(self) -> tuple[str, str]:
        """(attack, labels) of a stolen model, empty for others."""
        origin = self.member.spec.origin
        return (origin.attack, origin.labels) if isinstance(origin, Extracted) else ("", "")


@dataclass(frozen=True)
class Enrollment:
    """All that is to be made for one kit."""

    config: Config
    wanted: EnrollConfig
    seed: int
    victim: ModelSpec
    supporters: tuple[Supporter, ...]
    """Those held out of each group in a random order: the first so many calibrate."""
    probe: ProbeSpec

    @property
    def id(self) -> str:
        """Content address."""
        return content_id({"wanted": self.wanted, "config": self.config, "seed": self.seed, "victim": self.victim})

    def answer(self, supporter: Supporter) -> AnswerSpec:
        """Training models answer every view, the others what a suspect is asked."""
        return AnswerSpec(supporter.member.spec, self.probe, "all" if supporter.part == "training" else "test")

    @property
    def victim_answer(self) -> AnswerSpec:
        """The victim's answers to every view."""
        return AnswerSpec(self.victim, self.probe)

    @cached_property
    def specs(self) -> list[Spec]:
        """Everything to perform, in an order in which it could be."""
        return in_order([self.victim_answer, *(self.answer(supporter) for supporter in self.supporters)])

    @property
    def models(self) -> list[ModelSpec]:
        """Every model, the victim and other victims counted."""
        return [spec for spec in self.specs if isinstance(spec, ModelSpec)]


def enroll_preset(name: str) -> Config:
    """A preset of the evaluation; digits cut so that a victim makes errors, without which little tells it apart.

    Raises:
        UserError: unknown; lists the known ones.
    """
    config = preset(name)
    if name != "digits":
        return config
    return replace(
        config,
        data=replace(config.data, train_share=0.3, outside_shares=(0.8, 0.05, 0.15)),
        zoo=replace(config.zoo, epochs=40.0),
        extraction=ExtractionConfig(budget=4.0, natural_share=0.25, rounds=5),
    )


def make_enrollment(
    config: Config, wanted: EnrollConfig, seed: int, dataset: Dataset, own: OwnVictim | None = None
) -> Enrollment:
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
    config = sized(config, wanted, own.n_images / (n_d // 2) if own and own.n_images else 1.0)
    check(config)
    plan = make_plan(config, seed, dataset)
    planned = plan.members[0].spec
    victim = own.in_place_of(planned) if own else planned

    def owned(spec: ModelSpec) -> ModelSpec:
        return _owned(spec, planned, victim)

    def of_role(role: str) -> list[Member]:
        return [replace(m, spec=owned(m.spec)) for m in members_of(plan.members, role)]

    pirates = _in_ways(of_role("piracy"), config, wanted, seed)
    supporters = [*_dealt_piracy(pirates, wanted, seed)]
    for group in wanted.groups:
        order = numpy_rng("enroll", seed, group).permutation(config.zoo.n_homologous)
        members = of_role(ROLES[group])
        if group == "other_victim":
            members = _in_ways(members, config, wanted, seed)
        supporters += [
            Supporter(members[row], group, "training" if i < wanted.n_train else "held_out")
            for i, row in enumerate(order)
        ]
    probe = ProbeSpec(victim, config.uap, config.fingerprint, seed)
    return Enrollment(config, wanted, seed, victim, tuple(supporters), probe)


def configuration(config: Config, wanted: EnrollConfig) -> dict[str, Any]:
    """What a kit says that it was made with; `config` as `sized` gives it."""
    return asdict(config) | {"enroll": asdict(wanted)}


def sized(config: Config, wanted: EnrollConfig, share: float = 1.0) -> Config:
    """`config` with the numbers of models that `wanted` takes, and images in 8 bits.

    Args:
        config: as it was chosen.
        wanted: what the kit must decide.
        share: images that the victim was trained on, of those that it would be trained on by `config`.
    """
    n_group = wanted.n_train + wanted.n_calibrate + wanted.n_test
    zoo = config.zoo
    return replace(
        config,
        zoo=replace(
            zoo,
            architectures=tuple(dict.fromkeys((zoo.victim_architecture, *zoo.architectures))),
            epochs=zoo.epochs * share,
            n_piracy=len(wanted.ways) * (wanted.n_train_piracy + wanted.n_test_piracy),
            n_soft_piracy=0,
            n_homologous=n_group,
            n_same_data=n_group if "same_data" in wanted.groups else 0,
            n_other_piracy=(),
            n_calibration_piracy=n_group if "other_victim" in wanted.groups else 0,
        ),
        extraction=replace(config.extraction, attacks=wanted.attacks, budget=config.extraction.budget * share),
        uap=replace(config.uap, round_to_8_bits=True, references=False),
        fingerprint=replace(config.fingerprint, n_natural=max(wanted.n_errors, config.fingerprint.max_natural)),
        verdict=VerdictConfig(
            alpha=wanted.alpha, n_train=1, n_calibrate=wanted.n_calibrate, formats=wanted.formats, n_draws=1
        ),
    )


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
    ways = [wanted.ways[i % len(wanted.ways)] for i in range(len(members))]
    dealt = [ways[i] for i in numpy_rng("enroll", seed, "ways", members[0].role).permutation(len(ways))]

    def stolen(member: Member, attack: str, labels: str) -> Member:
        origin = member.spec.origin
        assert isinstance(origin, Extracted)
        share = 1.0 if EXTRACTIONS[attack] is None else config.extraction.natural_share
        origin = replace(origin, attack=attack, labels=labels, natural_share=share)
        return replace(member, spec=replace(member.spec, origin=origin))

    return [stolen(member, *way) for member, way in zip(members, dealt, strict=True)]


def _dealt_piracy(members: list[Member], wanted: EnrollConfig, seed: int) -> Iterator[Supporter]:
    """Of every way the first few, at random, train."""
    taken: dict[tuple[str, str], int] = {}
    for row in numpy_rng("enroll", seed, "piracy").permutation(len(members)):
        supporter = Supporter(members[row], "piracy", "training")
        number = taken[supporter.way] = taken.get(supporter.way, 0) + 1
        yield supporter if number <= wanted.n_train_piracy else replace(supporter, part="held_out")


def _check(wanted: EnrollConfig) -> None:
    if not 0.0 < wanted.alpha <= 0.5:
        raise UserError(f"alpha: expected a rate above 0 and up to 0.5, got {wanted.alpha:g}")
    if not 1 <= wanted.max_suspects <= 1000:
        raise UserError(f"max-suspects: expected 1 to 1000, got {wanted.max_suspects}")
    for kind, names, table in (("group", wanted.groups, ROLES), ("attack", wanted.attacks, EXTRACTIONS)):
        if not names or len(set(names)) < len(names):
            raise UserError(
                f"{kind}s: expected at least one, each once, got {names}; known: {', '.join(sorted(table))}"
            )
        for name in names:
            if name not in table:
                raise known(kind, name, table)
    if not wanted.labels or len(set(wanted.labels)) < len(wanted.labels):
        raise UserError(f"labels: expected at least one kind, each once, got {wanted.labels}")
    for labels in wanted.labels:
        check_labels(labels)
    for fmt in wanted.formats:
        if fmt not in ("prob", "hard"):
            k_of(fmt)
    if "hard" not in wanted.formats:
        raise UserError(f"formats: expected hard among them, the least that any API tells, got {wanted.formats}")
    for name, least in (("n_errors", 1), ("n_train", 2), ("n_train_piracy", 1), ("n_test", 0), ("n_test_piracy", 0)):
        if not least <= (value := getattr(wanted, name)) <= 10_000:
            raise UserError(f"{name}: expected {least} to 10000, got {value}")
    if math.prod((wanted.n_train_piracy, len(wanted.ways))) < 2:
        raise UserError("n_train_piracy: expected at least two stolen models to learn from, got one; raise it")
