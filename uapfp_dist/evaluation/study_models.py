"""Models of the studies: in the middle of an extraction, and of a chosen overlap. Trains nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from uapfp_dist.config.schema import StudyConfig
from uapfp_dist.rng import numpy_rng
from uapfp_dist.tasks.members import Member, Role, members_of
from uapfp_dist.tasks.specs import Checkpoint, Trained, TrajectorySpec


def checkpoint_members(config: StudyConfig, members: Sequence[Member]) -> Iterator[Member]:
    """Figure 6 right: the first extractions anew, from other random weights, kept at every recovery rate."""
    piracy = [m.spec for m in members_of(members, Role.PIRACY)][: config.n_trajectories]
    for spec in piracy:
        seed = int(numpy_rng("trajectory", spec.seed).integers(2**31))
        trajectory = TrajectorySpec(replace(spec, seed=seed, gate=None), config.recoveries)
        for recovery in config.recoveries:
            yield Member(Role.CHECKPOINT_PIRACY, replace(trajectory.model, origin=Checkpoint(trajectory, recovery)))


def overlap_members(config: StudyConfig, members: Sequence[Member]) -> Iterator[Member]:
    """Independent models whose set shares a chosen part of D_v (the supplement's ablation)."""
    homologous = [m.spec for m in members_of(members, Role.HOMOLOGOUS)][: config.n_overlap]
    for overlap in config.overlaps:
        for spec in homologous:
            seed = int(numpy_rng("overlap", spec.seed, overlap).integers(2**31))
            origin = Trained("homologous_set", overlap)
            yield Member(Role.OVERLAP_HOMOLOGOUS, replace(spec, origin=origin, seed=seed))
