"""Models unlike those that scorers are trained on: other kinds of nets, attackers at second hand, attackers who mix."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from uapfp_dist.config.schema import ControlConfig
from uapfp_dist.rng import numpy_rng
from uapfp_dist.tasks.members import Member, Role, members_of
from uapfp_dist.tasks.specs import Extracted, Gate, ModelSpec


def control_members(config: ControlConfig, members: Sequence[Member]) -> Iterator[Member]:
    """The controls of a zoo, each made as one of its models but for one thing. Trains nothing."""
    homologous = [m.spec for m in members_of(members, Role.HOMOLOGOUS)]
    piracy = [m.spec for m in members_of(members, Role.PIRACY)]
    for architecture in config.architectures:
        for spec in homologous[: config.n_other_architecture]:
            other = _with_seed(spec, "other_architecture", architecture)
            # Other kinds of nets learn less of few images: twice the margin, so that they are there at all.
            gate = replace(spec.gate, margin=2 * spec.gate.margin) if isinstance(spec.gate, Gate) else None
            yield Member(Role.OTHER_ARCHITECTURE, replace(other, architecture=architecture, gate=gate))
    for first, spec in islice(zip(piracy, _neighbours(piracy), strict=True), config.n_second_hand):
        second = _with_seed(spec, "second_hand", first.seed)
        assert isinstance(spec.origin, Extracted)
        yield Member(Role.SECOND_HAND_PIRACY, replace(second, origin=replace(spec.origin, victim=first)))
    for share in config.true_shares:
        for spec in piracy[: config.n_mixed]:
            assert isinstance(spec.origin, Extracted)
            knockoff = replace(spec.origin, attack="knockoff", natural_share=1.0, jacobian_labels="substitute")
            origin = replace(knockoff, true_share=share, pool=None)  # of another data set nobody has true labels
            mixed = _with_seed(spec, "mixed", share)
            yield Member(Role.MIXED_PIRACY, replace(mixed, origin=origin))


def _neighbours(specs: Sequence[ModelSpec]) -> Sequence[ModelSpec]:
    """Every spec's neighbour: a net at second hand is not of the architecture of the first."""
    return [*specs[1:], *specs[:1]]


def _with_seed(spec: ModelSpec, *name: object) -> ModelSpec:
    return replace(spec, seed=int(numpy_rng("control", spec.seed, *name).integers(2**31)))
