"""Checkpoints on the way of an extraction: the first moments at which a recovery is reached."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from uapfp_dist.attacks import ATTACKS, TrajectoryPoint, extract, extract_trajectory
from uapfp_dist.errors import UserError
from uapfp_dist.models import Net, build
from uapfp_dist.models.blackbox import Blackbox, predict_probabilities
from uapfp_dist.models.training import Trainer, TrainingState
from uapfp_dist.response_format import LABEL
from uapfp_dist.rng import seeded, torch_rng
from uapfp_dist.tasks.specs import Recipe

CPU = torch.device("cpu")
LEVELS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 5.0)


@dataclass(frozen=True)
class Watched:
    """One extraction of architecture E, which has dropout."""

    net: Net
    curve: list[float]
    """Recovery after every step, as found."""
    queries: list[int]
    """Spent by then."""
    reached: list[TrajectoryPoint]
    measurements: int


@pytest.fixture(scope="module")
def watched(victim: Net, pool: Tensor, held_out: Tensor, held_out_labels: Tensor) -> Callable[[int | None], Watched]:
    """Extract under `extract_trajectory` with that many steps between measurements, or (None) step by step by hand."""

    def recovery_of(net: Net) -> float:
        return float((predict_probabilities(net, held_out).argmax(1) == held_out_labels).double().mean()) / 0.9

    def run(every: int | None) -> Watched:
        net = build("E", (1, 8, 8), 10, 8, 0, CPU)
        trainer = Trainer(net, Recipe("adam", 64, 64 * 93), torch_rng("watched"))
        box, attack = Blackbox(victim, 300, LABEL), ATTACKS["cloudleak"]
        curve: list[float] = []
        queries: list[int] = []
        reached: list[TrajectoryPoint] = []

        def by_hand(step: int) -> None:
            assert step == len(curve) + 1
            curve.append(recovery_of(net))
            queries.append(box.queries)
            net.train()

        def intrusive(twin: Net) -> float:
            assert not twin.training
            curve.append(recovery_of(twin))
            twin.train()
            with torch.no_grad():
                next(twin.parameters()).add_(1.0)
            return curve[-1]

        with seeded(0, CPU):
            if every is None:
                extract(box, pool, trainer, attack, rounds=3, natural_share=0.5, after_step=by_hand)
            else:
                reached = extract_trajectory(
                    box,
                    pool,
                    trainer,
                    attack,
                    rounds=3,
                    natural_share=0.5,
                    recoveries=LEVELS,
                    recovery_of=intrusive,
                    every=every,
                )
        return Watched(net, curve, queries, reached, len(curve))

    return run


def first_moments(curve: list[float], every: int) -> dict[float, int]:
    """Level to the step at which it is first reached, going back whenever a measurement finds it reached."""
    found: dict[float, int] = {}
    start = 0
    for end in [*range(every, len(curve), every), len(curve)]:
        waiting = [level for level in LEVELS if level not in found]
        if curve[end - 1] >= waiting[0]:
            for level in waiting:
                steps = [step for step in range(start + 1, end + 1) if curve[step - 1] >= level]
                if steps:
                    found[level] = steps[0]
        start = end
    return found


@pytest.mark.parametrize("every", [1, 10, 40])
def test_checkpoints_are_the_first_moments(every: int, watched: Callable[[int | None], Watched]) -> None:
    """Against a curve taken step by step: moment, recovery, queries; training is undisturbed by changes of the copy."""
    by_hand, seen = watched(None), watched(every)
    assert len(by_hand.curve) == 93
    for name, weights in by_hand.net.state_dict().items():
        assert torch.equal(weights, seen.net.state_dict()[name]), name
    expected = first_moments(by_hand.curve, every)
    assert {r.level: r.step for r in seen.reached} == expected
    assert 5 <= len(expected) < len(LEVELS)  # none reaches five times the victim's accuracy
    for r in seen.reached:
        assert r.recovery == by_hand.curve[r.step - 1] >= r.level
        assert r.queries == by_hand.queries[r.step - 1]
    assert [r.level for r in seen.reached] == sorted(expected)
    assert seen.measurements <= -(-93 // every) + (every - 1) * len(LEVELS)


@pytest.mark.parametrize("every", [1, 10])
def test_the_state_of_a_training_is_not_copied_at_every_step(
    every: int, watched: Callable[[int | None], Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once between two measurements, and once for each return."""
    copies: list[int] = []
    plain = Trainer.state

    def counted(trainer: Trainer) -> TrainingState:
        copies.append(trainer.step)
        return plain(trainer)

    monkeypatch.setattr(Trainer, "state", counted)
    reached = watched(every).reached
    returns = len({-(-point.step // every) for point in reached})
    assert len(copies) <= (every > 1) * (1 + 93 // every + returns)
    assert bool(copies) == (every > 1)


def test_checkpoints_hold_the_weights_of_their_moment(
    watched: Callable[[int | None], Watched], held_out: Tensor, held_out_labels: Tensor
) -> None:
    """Loaded into a new net they have the recovery that was recorded, and they differ from moment to moment."""
    reached = watched(10).reached
    for r in reached:
        net = build("E", (1, 8, 8), 10, 8, 9, CPU)
        net.load_state_dict(r.weights)
        assert (
            float((predict_probabilities(net, held_out).argmax(1) == held_out_labels).double().mean()) / 0.9
            == r.recovery
        )
    for low, high in pairwise(reached):
        same = all(torch.equal(low.weights[name], high.weights[name]) for name in low.weights)
        assert same == (low.step == high.step)
    assert len({r.step for r in reached}) >= 4


def trajectory_of(
    victim: Net, pool: Tensor, levels: tuple[float, ...], recovery_of: Callable[[Net], float], every: int = 4
) -> list[TrajectoryPoint]:
    """Ten steps of knockoff."""
    trainer = Trainer(build("C", (1, 8, 8), 10, 2, 0, CPU), Recipe("adam", 64, 640), torch_rng("short"))
    box = Blackbox(victim, 20, LABEL)
    return extract_trajectory(
        box,
        pool,
        trainer,
        ATTACKS["knockoff"],
        rounds=0,
        natural_share=1.0,
        recoveries=levels,
        recovery_of=recovery_of,
        every=every,
    )


def test_levels_passed_in_one_step(victim: Net, pool: Tensor) -> None:
    """The same moment, the recovery that was measured; the level above it stays away."""
    reached = trajectory_of(victim, pool, (0.5, 0.6, 0.7, 0.9), lambda net: 0.8)
    assert [(r.level, r.recovery, r.step, r.queries) for r in reached] == [(x, 0.8, 1, 20) for x in (0.5, 0.6, 0.7)]


def test_the_last_step_is_measured(victim: Net, pool: Tensor) -> None:
    """Also when `every` does not divide the steps."""
    recoveries = iter([0.1, 0.1, 0.9, 0.1])  # steps 4, 8 and 10, then back to 9
    assert [r.step for r in trajectory_of(victim, pool, (0.5,), lambda net: next(recoveries))] == [10]


def test_bad_input_of_a_trajectory_is_refused(victim: Net, pool: Tensor) -> None:
    """Levels out of order, none, no steps between measurements, a recovery of NaN."""
    for levels in ((), (0.8, 0.8), (0.9, 0.8), (float("nan"),), (0.5, float("nan"))):
        with pytest.raises(UserError, match=r"^recoveries: expected ascending.*$"):
            trajectory_of(victim, pool, levels, lambda net: 0.5)
    with pytest.raises(UserError, match=r"^every: expected at least 1.*got 0$"):
        trajectory_of(victim, pool, (0.5,), lambda net: 0.5, every=0)
    with pytest.raises(UserError, match=r"^recovery_of: expected a recovery rate, got nan after step 4$"):
        trajectory_of(victim, pool, (0.5,), lambda net: float("nan"))
