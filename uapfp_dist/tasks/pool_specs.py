"""Specs of the exact sibling test: a pool of images, and what one model says to all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from uapfp_dist.tasks.hashing import Spec, wire_names
from uapfp_dist.tasks.method_configs import ChurnConfig, SiblingTestConfig
from uapfp_dist.tasks.specs import DataSpec, ModelSpec


@wire_names("pool", "data config seed")
@dataclass(frozen=True)
class PoolSpec(Spec):
    """PROBE and small changes of its images, on none of which any model trained."""

    stage: ClassVar[str] = "probe"
    data: DataSpec
    config: ChurnConfig
    seed: int

    @property
    def needs(self) -> tuple[Spec, ...]:
        """None: images alone."""
        return ()


@wire_names("pool_labels", "model pool")
@dataclass(frozen=True)
class PoolLabelsSpec(Spec):
    """The labels that one model gives to a pool, and by which margins."""

    stage: ClassVar[str] = "answers"
    model: ModelSpec
    pool: PoolSpec

    @property
    def needs(self) -> tuple[Spec, ...]:
        """The model and the pool."""
        return (self.model, self.pool)


@wire_names("sibling_points", "players pool config")
@dataclass(frozen=True)
class SiblingPointsSpec(Spec):
    """The images at which each of several siblings disagrees with the others."""

    stage: ClassVar[str] = "probe"
    players: tuple[ModelSpec, ...]
    """The victim first."""
    pool: PoolSpec
    config: SiblingTestConfig

    @property
    def needs(self) -> tuple[Spec, ...]:
        """What every player says to the pool."""
        return tuple(PoolLabelsSpec(player, self.pool) for player in self.players)


@wire_names("sibling_answers", "model points")
@dataclass(frozen=True)
class SiblingResponseSpec(Spec):
    """The labels that one model gives to those images."""

    stage: ClassVar[str] = "answers"
    model: ModelSpec
    points: SiblingPointsSpec

    @property
    def needs(self) -> tuple[Spec, ...]:
        """The model and the images."""
        return (self.model, self.points)
