"""One extraction, kept as it stood when it first reached each recovery rate (paper Fig. 6 right)."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from uapfp_dist.attacks.extract import CraftQueries, extract
from uapfp_dist.errors import UserError
from uapfp_dist.models.blackbox import Blackbox
from uapfp_dist.models.net import Net
from uapfp_dist.models.training import Trainer


@dataclass(frozen=True)
class TrajectoryPoint:
    """A substitute at the first moment at which its recovery rate reached a level."""

    level: float
    """The recovery rate waited for."""
    recovery: float
    """The one measured at that moment: `level` or more, by as much as one step gains (early on, several levels)."""
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
    craft: CraftQueries | None,
    rounds: int,
    natural_share: float,
    recoveries: Sequence[float],
    recovery_of: Callable[[Net], float],
    every: int,
) -> list[TrajectoryPoint]:
    """Extract as `extract` does, to the same bits, and keep the substitute at the first moment of each level.

    It is looked at every `every` steps. When a look finds a new level reached, the steps since the look before are
    looked at too, oldest first, from copies of the weights: the moment is exact to the step however steep the climb.
    That makes at most total_steps / every + (every - 1) len(recoveries) looks. (A level reached and lost again between
    two looks has not been seen; every=1 sees all.) They go to a twin of the substitute and cannot disturb its training.

    Args:
        victim, pool, trainer, craft, rounds, natural_share: as for `extract`.
        recoveries: levels, ascending; accuracy of the substitute over accuracy of the victim.
        recovery_of: measures a net in evaluation mode, always on the same images.
        every: steps between looks, and copies of the weights held (on the net's device) in between.

    Returns:
        The levels reached, ascending; levels never reached are absent. Levels that one step leapt over share their
        weights, and say so by equal `step` and `recovery`.

    Raises:
        UserError: levels that are not ascending, `every` below 1, a recovery of NaN; and as `extract`.
        DivergedError: as `extract`.
    """
    watch = _Watch(victim, trainer, recoveries, recovery_of, every)
    extract(victim, pool, trainer, craft, rounds, natural_share, watch.after_step)
    return watch.reached


@dataclass(frozen=True)
class _Copy:
    step: int
    queries: int
    weights: dict[str, Tensor]


class _Watch:
    """Holds the weights since the last look and the levels still waited for."""

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
            raise UserError(f"every: expected at least 1 step between looks, got {every}")
        self._victim = victim
        self._trainer = trainer
        self._waiting = list(levels)
        self._recovery_of = recovery_of
        self._every = every
        assert isinstance(trainer.net, Net)
        self._twin = copy.deepcopy(trainer.net)
        self._since: list[_Copy] = []
        self.reached: list[TrajectoryPoint] = []

    def after_step(self, step: int) -> None:
        """Copy; look when it is time; look back when there is something to find."""
        if not self._waiting:
            return
        weights = {name: tensor.detach().clone() for name, tensor in self._trainer.net.state_dict().items()}
        self._since.append(_Copy(step, self._victim.queries, weights))
        if step % self._every and step != self._trainer.total_steps:
            return
        now = self._since[-1]
        recovery = self._look(now)
        if recovery >= self._waiting[0]:
            for earlier in self._since[:-1]:
                self._keep(earlier, self._look(earlier))
            self._keep(now, recovery)
        self._since.clear()

    def _look(self, at: _Copy) -> float:
        self._twin.load_state_dict(at.weights)
        recovery = self._recovery_of(self._twin.eval())
        if math.isnan(recovery):
            raise UserError(f"recovery_of: expected a recovery rate, got {recovery} after step {at.step}")
        return recovery

    def _keep(self, at: _Copy, recovery: float) -> None:
        weights = None
        while self._waiting and recovery >= self._waiting[0]:
            weights = weights or {name: tensor.cpu() for name, tensor in at.weights.items()}
            self.reached.append(TrajectoryPoint(self._waiting.pop(0), recovery, at.step, at.queries, weights))
