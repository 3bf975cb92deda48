"""One extraction with a checkpoint at the first moment of each recovery rate (paper Fig. 6 right)."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from torch import Tensor

from uapfp_dist.attacks.attack import Attack
from uapfp_dist.attacks.extract import TrueLabels, extract
from uapfp_dist.errors import UserError
from uapfp_dist.models.blackbox import Blackbox
from uapfp_dist.models.net import Net
from uapfp_dist.models.training import Trainer, TrainingState
from uapfp_dist.rng import GlobalState


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
    before are done again and measured too, oldest first: the moment is exact to the step (on a GPU, whose sums are not
    repeated bit for bit, it may be a step off). That makes at most total_steps / every + (every - 1) len(recoveries)
    measurements. (A level reached and lost again between two of them is not seen; every=1 sees all.) They are made on a
    copy of the substitute and cannot disturb its training.

    Args:
        victim, pool, trainer, attack, rounds, natural_share, true_labels, relabel: as for `extract`.
        recoveries: levels, ascending; accuracy of the substitute over accuracy of the victim.
        recovery_of: measures a net in evaluation mode, always on the same images.
        every: steps between measurements; as many batches and one state of the training are held in between.

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


@dataclass(frozen=True, eq=False)
class _Step:
    number: int
    queries: int
    batch: tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class _Start:
    """Of the steps since the last measurement."""

    state: TrainingState
    generators: GlobalState


class _Recorder:
    """Holds the steps since the last measurement, and the levels not reached yet."""

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
        self._steps: list[_Step] = []
        self._start = self._now() if every > 1 else None
        self.reached: list[TrajectoryPoint] = []

    def after_step(self, step: int) -> None:
        """Every `every` steps measure; when a new level is reached, do the steps since the last time again."""
        if not self._open_levels:
            return
        assert self._trainer.last_batch is not None
        self._steps.append(_Step(step, self._victim.queries, self._trainer.last_batch))
        if step % self._every and step != self._trainer.total_steps:
            return
        now = self._steps.pop()
        recovery = self._measure(step)
        if recovery >= self._open_levels[0]:
            self._go_back()
            self._keep(now, recovery)
        self._steps.clear()
        goes_on = self._open_levels and step < self._trainer.total_steps
        self._start = self._now() if goes_on and self._every > 1 else None

    def _now(self) -> _Start:
        return _Start(self._trainer.state(), GlobalState.of(self._trainer.device))

    def _go_back(self) -> None:
        """Do the earlier steps again and keep what has a level; then all is as it was."""
        if not self._steps:
            return
        assert self._start is not None
        now, start = self._now(), self._start.state
        # set once before the first step, after the first start was kept
        unchanged = {name: now.state.weights[name] for name in ("mean", "std")}
        self._trainer.resume(replace(start, weights=start.weights | unchanged))
        self._start.generators.restore()
        for step in self._steps:
            self._trainer.repeat(*step.batch)
            self._keep(step, self._measure(step.number))
        self._trainer.resume(now.state)
        now.generators.restore()

    def _measure(self, step: int) -> float:
        self._copy.load_state_dict(self._trainer.net.state_dict())
        recovery = self._recovery_of(self._copy.eval())
        if math.isnan(recovery):
            raise UserError(f"recovery_of: expected a recovery rate, got {recovery} after step {step}")
        return recovery

    def _keep(self, step: _Step, recovery: float) -> None:
        """The weights as they are, at every open level that they have."""
        weights = None
        while self._open_levels and recovery >= self._open_levels[0]:
            net = self._trainer.net
            weights = weights or {name: tensor.detach().cpu().clone() for name, tensor in net.state_dict().items()}
            self.reached.append(TrajectoryPoint(self._open_levels.pop(0), recovery, step.number, step.queries, weights))
