"""One extraction with a checkpoint at the first moment of each recovery rate (paper Fig. 6 right)."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from uapfp_dist.attacks.attack import Attack
from uapfp_dist.attacks.extract import TrueLabels, extract
from uapfp_dist.errors import UserError
from uapfp_dist.models.blackbox import Blackbox
from uapfp_dist.models.net import Net
from uapfp_dist.models.training import Trainer


@dataclass(frozen=True)
class TrajectoryPoint:
    """A substitute at the first moment at which its recovery rate reached a level."""

    level: float
    """The recovery rate to reach."""
    recovery: float
    """The rate measured at that moment: `level` or more, by as much as one step gains (early on, several levels)."""
    step: int
    """Optimiser steps done."""
    queries: int
    """Images sent to the victim by then."""
    weights: dict[str, Tensor]
    """State dict, on the CPU."""


def extract_trajectory(
    victim: Blackbox,
    pool: Tensor,
    trainer: Trainer,
    attack: Attack,
    *,
    rounds: int,
    natural_share: float,
    recoveries: Sequence[float],
    recovery_of: Callable[[Net], float],
    every: int,
    true_labels: TrueLabels | None = None,
    relabel: Callable[[Tensor], Tensor] = lambda targets: targets,
) -> list[TrajectoryPoint]:
    """Extract as `extract` does, to the same bits, and keep the substitute at the first moment of each level.

    The recovery rate is measured every `every` steps. When it has reached a new level, the steps since the measurement
    before are measured too, oldest first, from copies of the weights: the moment is exact to the step. That makes at
    most total_steps / every + (every - 1) len(recoveries) measurements. (A level reached and lost again between two of
    them is not seen; every=1 sees all.) They are made on a copy of the substitute and cannot disturb its training.

    Args:
        victim, pool, trainer, attack, rounds, natural_share, true_labels, relabel: as for `extract`.
        recoveries: levels, ascending; accuracy of the substitute over accuracy of the victim.
        recovery_of: measures a net in evaluation mode, always on the same images.
        every: steps between measurements; as many copies of the weights are held (on the net's device) in between.

    Returns:
        The levels reached, ascending; levels never reached are absent. Levels that one step passed together share
        their weights; their `step` and `recovery` are equal.

    Raises:
        UserError: levels that are not ascending, `every` below 1, a recovery of NaN; and as `extract`.
        DivergedError: as `extract`.
    """
    recorder = _Recorder(victim, trainer, recoveries, recovery_of, every)
    extract(
        victim,
        pool,
        trainer,
        attack,
        rounds=rounds,
        natural_share=natural_share,
        true_labels=true_labels,
        relabel=relabel,
        after_step=recorder.after_step,
    )
    return recorder.reached


@dataclass(frozen=True)
class _Snapshot:
    step: int
    queries: int
    weights: dict[str, Tensor]


class _Recorder:
    """Holds the weights since the last measurement and the levels not reached yet."""

    def __init__(
        self,
        victim: Blackbox,
        trainer: Trainer,
        levels: Sequence[float],
        recovery_of: Callable[[Net], float],
        every: int,
    ) -> None:
        if not levels or not all(low < high for low, high in pairwise([0.0, *levels])):
            raise UserError(f"recoveries: expected ascending recovery rates above 0, got {tuple(levels)}")
        if every < 1:
            raise UserError(f"every: expected at least 1 step between measurements, got {every}")
        self._victim = victim
        self._trainer = trainer
        self._open_levels = list(levels)
        self._recovery_of = recovery_of
        self._every = every
        assert isinstance(trainer.net, Net)
        self._copy = copy.deepcopy(trainer.net)
        self._snapshots: list[_Snapshot] = []
        self.reached: list[TrajectoryPoint] = []

    def after_step(self, step: int) -> None:
        """Copy the weights; every `every` steps measure; go back through the copies when a new level is reached."""
        if not self._open_levels:
            return
        weights = {name: tensor.detach().clone() for name, tensor in self._trainer.net.state_dict().items()}
        self._snapshots.append(_Snapshot(step, self._victim.queries, weights))
        if step % self._every and step != self._trainer.total_steps:
            return
        now = self._snapshots[-1]
        recovery = self._measure(now)
        if recovery >= self._open_levels[0]:
            for earlier in self._snapshots[:-1]:
                self._keep(earlier, self._measure(earlier))
            self._keep(now, recovery)
        self._snapshots.clear()

    def _measure(self, at: _Snapshot) -> float:
        self._copy.load_state_dict(at.weights)
        recovery = self._recovery_of(self._copy.eval())
        if math.isnan(recovery):
            raise UserError(f"recovery_of: expected a recovery rate, got {recovery} after step {at.step}")
        return recovery

    def _keep(self, at: _Snapshot, recovery: float) -> None:
        weights = None
        while self._open_levels and recovery >= self._open_levels[0]:
            weights = weights or {name: tensor.cpu() for name, tensor in at.weights.items()}
            self.reached.append(TrajectoryPoint(self._open_levels.pop(0), recovery, at.step, at.queries, weights))
