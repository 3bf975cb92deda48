"""From a configuration to the specs of an evaluation: models, probe and responses. Trains nothing."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from uapfp_dist.config.schema import Config, DataConfig
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.control_models import control_members
from uapfp_dist.evaluation.modified_models import modified_members
from uapfp_dist.evaluation.probe_specs import probe_twin, reference_specs, second_probe
from uapfp_dist.evaluation.removal_models import removal_members
from uapfp_dist.evaluation.sibling_specs import churn_spec, exact_spec, from_common_start
from uapfp_dist.evaluation.spec_builder import SpecBuilder, pool_spec
from uapfp_dist.evaluation.study_models import checkpoint_members, overlap_members
from uapfp_dist.response_format import LABEL, ResponseFormat
from uapfp_dist.rng import numpy_rng
from uapfp_dist.tasks.churn_specs import ChurnResponseSpec, ChurnSpec
from uapfp_dist.tasks.hashing import JUDGING_VERSION, REPORT_VERSION, Spec, content_id
from uapfp_dist.tasks.members import Member, Role, members_of
from uapfp_dist.tasks.pool_specs import SiblingPointsSpec, SiblingResponseSpec
from uapfp_dist.tasks.reference_specs import ReferenceResponseSpec, ReferenceSpec
from uapfp_dist.tasks.scheduler import dependency_order
from uapfp_dist.tasks.specs import (
    AbsoluteGate,
    AttackPool,
    DataSpec,
    Gate,
    ModelSpec,
    ProbeSpec,
    ProbeTwinSpec,
    ResponseSpec,
    SubspaceSpec,
    Trained,
)


@dataclass(frozen=True)
class Plan:
    """All specs of one evaluation."""

    config: Config
    seed: int
    data: DataSpec
    members: tuple[Member, ...]
    """The victim first; other victims are trained but not judged."""
    probe: ProbeSpec
    subspaces: tuple[SubspaceSpec, ...] = ()
    """UAPs of the victim and of some models, for Eq. 5."""
    second_probe: ProbeSpec | None = None
    """The probe whose views come from Algorithm 1."""
    churn: ChurnSpec | None = None
    """Where the victim disagrees with its siblings; None without siblings."""
    probe_twin: ProbeTwinSpec | None = None
    """The probe on points of PROBE, likewise."""
    exact: SiblingPointsSpec | None = None
    """The exact sibling test; None without one."""
    references: tuple[ReferenceSpec, ...] = ()
    """What the methods compared take beside these probes."""
    knockoff_pool: AttackPool | None = None
    """Where knockoff draws its images; None: of the victim's kind."""

    @property
    def id(self) -> str:
        """Content address of the whole evaluation."""
        versions = {"judging": JUDGING_VERSION, "report": REPORT_VERSION}
        pool = {"pool": self.knockoff_pool} if self.knockoff_pool else {}
        return content_id({"config": self.config, "seed": self.seed, "data": self.data, **pool, **versions})

    @cached_property
    def indispensable(self) -> dict[str, str]:
        """Id of a spec without which nothing can be judged to what it is."""
        found = {self.members[0].spec.id: "a victim", self.probe.id: "the victim's probe"}
        if self.churn:
            found[self.churn.id] = "churn points"
            found |= {sibling.id: "every sibling of the committee at its gate" for sibling in self.churn.siblings}
        found |= {references.id: "references" for references in self.references}
        return found | ({self.probe_twin.id: "a probe on PROBE"} if self.probe_twin else {})

    @property
    def judged(self) -> tuple[Member, ...]:
        """The victim and every suspect: those that are queried."""
        return tuple(m for m in self.members if m.role not in (Role.OTHER_VICTIM, Role.SIBLING))

    def response(self, member: Member) -> ResponseSpec:
        """The responses of `member`: to all views if an encoder may learn from it, else to those a suspect is sent."""
        return ResponseSpec(member.spec, self.probe, "all" if member.spec.id in self._trainable else "test")

    def second_response(self, member: Member) -> ResponseSpec | None:
        """Its responses to the second probe, where there is one; only these three roles are queried with it."""
        if self.second_probe is None or member.role not in (Role.VICTIM, Role.PIRACY, Role.HOMOLOGOUS):
            return None
        return ResponseSpec(member.spec, self.second_probe)

    def churn_response(self, member: Member) -> ChurnResponseSpec | None:
        """Its labels on the churn points, where there are any."""
        return ChurnResponseSpec(member.spec, self.churn) if self.churn else None

    def exact_response(self, member: Member) -> SiblingResponseSpec | None:
        """Its labels on the images of the exact test, where there is one."""
        return SiblingResponseSpec(member.spec, self.exact) if self.exact else None

    def twin_response(self, member: Member) -> ResponseSpec | None:
        """Its responses on points of PROBE, where there are any."""
        return replace(self.response(member), probe=self.probe_twin) if self.probe_twin else None

    def reference_responses(self, member: Member) -> list[ReferenceResponseSpec]:
        """Its responses to each of the references."""
        part = self.response(member).part
        return [ReferenceResponseSpec(member.spec, references, part) for references in self.references]

    def responses(self, member: Member) -> list[Spec]:
        """What the model of `member` must respond to, or it is not judged: not the second probe nor the exact test."""
        found = (self.response(member), self.churn_response(member), self.twin_response(member))
        return [*(spec for spec in found if spec is not None), *self.reference_responses(member)]

    @cached_property
    def _trainable(self) -> frozenset[str]:
        pool = self.config.verdict.train_pool
        groups = [members_of(self.members, role)[:pool] for role in (Role.PIRACY, Role.HOMOLOGOUS)]
        always = [m for m in self.members if m.role in (Role.VICTIM, Role.OTHER_VICTIM_PIRACY)]
        return frozenset(m.spec.id for group in (*groups, always) for m in group)

    def pool_of(self, members: Iterable[Member]) -> int | None:
        """How many stolen and independent models of `members` may train: those queried with all views; None: any."""
        if self.config.verdict.train_pool is None:
            return None
        queried = [m for m in members if self.response(m).part == "all"]
        return min(len(members_of(queried, role)) for role in (Role.PIRACY, Role.HOMOLOGOUS))

    @cached_property
    def specs(self) -> tuple[Spec, ...]:
        """Everything to perform, in an order in which it could be."""
        models = [m.spec for m in self.members]
        second = [response for m in self.judged if (response := self.second_response(m)) is not None]
        probes = [spec for spec in (self.probe, self.second_probe, self.churn, self.probe_twin, self.exact) if spec]
        answers = [response for m in self.judged for response in self.responses(m)]
        exact = [asked for m in self.judged if (asked := self.exact_response(m)) is not None]
        return tuple(dependency_order([*models, *probes, *self.references, *answers, *second, *exact, *self.subspaces]))


def make_plan(config: Config, seed: int, dataset: Dataset, knockoff_pool: Dataset | None = None) -> Plan:
    """The evaluation of `config` under `seed` on `dataset`; every random choice follows from the seed.

    Args:
        config: what is evaluated, of one precision.
        seed: of everything.
        dataset: the victim's images.
        knockoff_pool: what `load_pool` gives.

    Raises:
        UserError: sizes that the data cannot give, a precision that is not settled, a pool that is not there.
    """
    if config.precision == "auto":
        raise UserError("precision: expected float32 or bfloat16 in a plan, got auto; settle it", argument="precision")
    data = data_spec(config.data, seed, dataset)
    n_d = dataset.n_train if dataset.n_train is not None else int(len(dataset.labels) * config.data.train_share)
    n_own = n_d // 2
    _check_sizes(config, n_own)
    pool = pool_spec(config, knockoff_pool)
    members = tuple(_members(SpecBuilder(config, data, n_own, pool), seed))
    members += tuple(modified_members(config.modifications, members, config.zoo.architectures))
    members += tuple(checkpoint_members(config.studies, members))
    members += tuple(overlap_members(config.studies, members))
    members += tuple(control_members(config.controls, members))
    members += tuple(removal_members(config.removal, members))
    probe = ProbeSpec(members[0].spec, config.uap, config.fingerprint, seed)
    churn, twin = churn_spec(config, seed, members, probe), probe_twin(config, probe)
    if twin:
        _check_sizes(config, int((len(dataset.labels) - n_d) * config.data.outside_shares[0]), "PROBE")
    subspaces, second = _subspaces(config, seed, members), second_probe(config, probe)
    exact = exact_spec(config, seed, members, data)
    references = reference_specs(config, probe)
    return Plan(config, seed, data, members, probe, subspaces, second, churn, twin, exact, references, pool)


def data_spec(cut: DataConfig, seed: int, dataset: Dataset) -> DataSpec:
    """Which images an evaluation sees, cut how."""
    shares = cut.train_share, cut.outside_shares
    return DataSpec(dataset.name, dataset.digest, seed, *shares, cut.n_classes, size=cut.shape)


def _subspaces(config: Config, seed: int, members: tuple[Member, ...]) -> tuple[SubspaceSpec, ...]:
    """Of the victim and the first few stolen and independent models."""
    n = config.studies.n_subspace
    if n == 0:
        return ()
    chosen = [members[0], *(m for role in (Role.PIRACY, Role.HOMOLOGOUS) for m in members_of(members, role)[:n])]
    return tuple(SubspaceSpec(m.spec, config.studies.subspace, seed) for m in chosen)


def _check_sizes(config: Config, n_images: int, split: str = "D_v") -> None:
    fingerprint = config.fingerprint
    for name, value in (("n_points", fingerprint.n_points), ("n_views", fingerprint.n_views)):
        if value > n_images:
            raise UserError(f"{name}: expected at most the {n_images} images of {split}, got {value}; choose fewer")


def _victim(build: SpecBuilder, seed: int) -> ModelSpec:
    zoo = build.config.zoo
    number = model_seed(seed, "victim", 0)
    victim = build.model(Trained("victim_set"), zoo.victim_architecture, None, number, None)
    return from_common_start(victim, build.config.siblings, seed)


def _members(build: SpecBuilder, seed: int) -> Iterable[Member]:
    config, zoo = build.config, build.config.zoo
    victim = _victim(build, seed)
    yield Member(Role.VICTIM, victim)
    trained_gate = Gate(victim, zoo.homologous_margin, zoo.attempts)
    stolen_gate = Gate(victim, zoo.piracy_margin, zoo.attempts)
    homologous = Trained("homologous_set", zoo.overlap)

    def trained(role: Role, origin: Trained, n: int) -> Iterator[Member]:
        for i, architecture, optimizer in build.cells(n):
            yield Member(role, build.model(origin, architecture, optimizer, model_seed(seed, role, i), trained_gate))

    def stolen(role: Role, of: ModelSpec, labels: ResponseFormat, n: int, first: int = 0) -> Iterator[Member]:
        for i, architecture, optimizer in build.cells(n, first):
            origin = build.extraction(of, attack_in_turn(config, i), labels)
            number = model_seed(seed, f"{role}/{of.seed}", i)
            yield Member(role, build.model(origin, architecture, optimizer, number, stolen_gate))

    yield from stolen(Role.PIRACY, victim, LABEL, zoo.n_piracy)
    yield from trained(Role.HOMOLOGOUS, homologous, zoo.n_homologous)
    yield from trained(Role.SAME_DATA, Trained("victim_set"), zoo.n_same_data)
    yield from stolen(Role.SOFT_PIRACY, victim, config.extraction.soft_labels, zoo.n_soft_piracy)
    for i, n in enumerate(zoo.n_other_piracy):
        number = model_seed(seed, "other_victim", i)
        other = build.model(homologous, zoo.victim_architecture, None, number, trained_gate)
        yield Member(Role.OTHER_VICTIM, other)
        before = sum(zoo.n_other_piracy[:i]) if zoo.cross_other_piracy else 0
        yield from stolen(Role.OTHER_VICTIM_PIRACY, other, LABEL, n, before)
    # One stolen model per victim: many of one victim would be the same model many times over (protocol 3.1).
    for i, architecture, optimizer in build.cells(zoo.n_calibration_piracy):
        number = model_seed(seed, "calibration_victim", i)
        other = build.model(homologous, zoo.victim_architecture, None, number, trained_gate)
        yield Member(Role.OTHER_VICTIM, other)
        number = model_seed(seed, "calibration_piracy", i)
        origin = build.extraction(other, attack_in_turn(config, i), LABEL)
        yield Member(Role.CALIBRATION_PIRACY, build.model(origin, architecture, optimizer, number, stolen_gate))
    siblings = [
        replace(
            victim,
            seed=model_seed(seed, "sibling", i),
            gate=AbsoluteGate(config.siblings.gate, zoo.attempts),
        )
        for i in range(config.siblings.n_committee + config.siblings.n_piracy)
    ]
    yield from (Member(Role.SIBLING, sibling) for sibling in siblings)
    outside = siblings[config.siblings.n_committee :]
    for (i, architecture, optimizer), sibling in zip(build.cells(len(outside)), outside, strict=True):
        origin = build.extraction(sibling, attack_in_turn(config, i), LABEL)
        number = model_seed(seed, "sibling_piracy", i)
        yield Member(Role.SIBLING_PIRACY, build.model(origin, architecture, optimizer, number, stolen_gate))


def attack_in_turn(config: Config, i: int) -> str:
    """The attack of stolen model `i`: each round of the architectures starts with another one, to cross both."""
    attacks, n = config.extraction.attacks, len(config.zoo.architectures)
    # Else an architecture would not meet every attack.
    skipped = next(s for s in range(1, len(attacks) + 1) if math.gcd(n + s, len(attacks)) == 1)
    return attacks[(i + skipped * (i // n)) % len(attacks)]


def model_seed(seed: int, role: str, number: int) -> int:
    """Of model `number` of a role: independent of all others."""
    return int(numpy_rng("model", seed, role, number).integers(2**31))
