"""The order of work: needs first, no task twice, none forgotten, no worker idle without cause."""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch

from uapfp_dist.central.evaluate import is_final
from uapfp_dist.errors import PermanentError, UserError
from uapfp_dist.execution.make_model import GateError, NotReachedError
from uapfp_dist.fingerprints.selection import SmallClusterError
from uapfp_dist.models.blackbox import NotFiniteError
from uapfp_dist.reporting.report_schema import SpecFailure
from uapfp_dist.reporting.report_tables import failures_of
from uapfp_dist.tasks.hashing import Spec, wire_names
from uapfp_dist.tasks.outcomes import Done, Failed, Outcome
from uapfp_dist.tasks.pool import SerialPool
from uapfp_dist.tasks.scheduler import run_tasks


@wire_names("task", "name before")
@dataclass(frozen=True)
class Task(Spec):
    """A spec that does nothing."""

    name: str
    before: tuple["Task", ...] = ()

    @property
    def needs(self) -> tuple[Spec, ...]:
        """Those that come first."""
        return self.before


class FakePool:
    """Performs nothing; finishes what is in work in an order of its own.

    Args:
        size: specs at once.
        failing: names of tasks that fail.
        pick: which of the running finishes next.
    """

    def __init__(self, size: int, failing: tuple[str, ...] = (), pick: Callable[[int], int] = lambda n: 0) -> None:
        self.size, self._failing, self._pick = size, failing, pick
        self.queue: deque[Task] = deque()
        self.running: list[Task] = []
        self.started: list[str] = []
        self.loads: list[int] = []

    def submit(self, spec: Spec) -> None:
        assert isinstance(spec, Task)
        self.queue.append(spec)

    def wait(self, timeout: float) -> list[Outcome]:
        while self.queue and len(self.running) < self.size:
            self.running.append(self.queue.popleft())
            self.started.append(self.running[-1].name)
        self.loads.append(len(self.running))
        spec = self.running.pop(self._pick(len(self.running)))
        return [Failed(spec, "broke") if spec.name in self._failing else Done(spec, 1.0, "fake")]

    def close(self) -> None:
        pass


def nothing(spec: Spec) -> bool:
    return False


def run(specs: list[Task], pool: FakePool, stored: Callable[[Spec], bool] = nothing) -> list[tuple[str, Outcome]]:
    """Names and outcomes, in order."""
    found = []
    for outcome in run_tasks(specs, pool, stored):
        assert isinstance(outcome.spec, Task)
        found.append((outcome.spec.name, outcome))
    return found


def random_tasks(rng: random.Random, n: int) -> list[Task]:
    """`n` tasks that need up to three earlier ones each."""
    tasks: list[Task] = []
    for i in range(n):
        tasks.append(Task(str(i), tuple(rng.sample(tasks, min(len(tasks), rng.randrange(4))))))
    return tasks


@pytest.mark.parametrize("seed", range(25))
def test_any_graph_under_any_timing(seed: int) -> None:
    """Each outcome once; work starts only after its needs; what depends on a failure is skipped, and only that."""
    rng = random.Random(seed)
    tasks = random_tasks(rng, 30)
    failing = tuple(t.name for t in rng.sample(tasks, 3))
    shelved = {t.id for t in rng.sample(tasks, 6) if t.name not in failing}
    pool = FakePool(rng.randrange(1, 5), failing, rng.randrange)
    outcomes = run(tasks, pool, lambda spec: spec.id in shelved)

    assert sorted(name for name, _ in outcomes) == sorted(t.name for t in tasks)
    by_name = dict(outcomes)
    place = {name: i for i, (name, _) in enumerate(outcomes)}
    for task in tasks:
        outcome = by_name[task.name]
        bad = [t for t in task.before if isinstance(by_name[t.name], Failed)]
        if task.id in shelved:
            assert isinstance(outcome, Done)
            assert outcome.reused
        elif bad:
            assert isinstance(outcome, Failed)
            assert outcome.skipped
            assert task.name not in pool.started
        else:
            assert isinstance(outcome, Failed) == (task.name in failing)
            assert not getattr(outcome, "skipped", False)
            assert all(place[t.name] < place[task.name] for t in task.before)
            assert pool.started.count(task.name) == 1


def test_reused_come_first_and_are_not_done_again() -> None:
    a = Task("a")
    b, c = Task("b", (a,)), Task("c")
    pool = FakePool(1)
    outcomes = run([a, b, c], pool, lambda spec: spec.id in {a.id, c.id})
    assert [name for name, _ in outcomes] == ["a", "c", "b"]
    assert pool.started == ["b"]


def test_a_need_that_is_gone_is_made_again_while_its_dependant_is_kept() -> None:
    a = Task("a")
    b = Task("b", (a,))
    pool = FakePool(1)
    run([a, b], pool, lambda spec: spec.id == b.id)
    assert pool.started == ["a"]


def test_a_diamond_waits_for_both_sides() -> None:
    top = Task("top")
    left, right = Task("left", (top,)), Task("right", (top,))
    bottom = Task("bottom", (left, right))
    pool = FakePool(4)
    names = [name for name, _ in run([top, left, right, bottom], pool)]
    assert names == ["top", "left", "right", "bottom"]


@pytest.mark.parametrize("broken", ["left", "right", "top"])
def test_the_tip_of_a_diamond_is_skipped_once(broken: str) -> None:
    top = Task("top")
    left, right = Task("left", (top,)), Task("right", (top,))
    bottom = Task("bottom", (left, right))
    outcomes = run([top, left, right, bottom], FakePool(2, (broken,)))
    assert [name for name, _ in outcomes].count("bottom") == 1
    skipped = {name for name, o in outcomes if isinstance(o, Failed) and o.skipped}
    assert skipped == ({"bottom"} if broken != "top" else {"left", "right", "bottom"})


def test_a_chain_is_skipped_to_its_end_and_says_why() -> None:
    chain = [Task("0")]
    for i in range(1, 5):
        chain.append(Task(str(i), (chain[-1],)))
    outcomes = dict(run([*chain, Task("free")], FakePool(1, ("1",))))
    assert isinstance(outcomes["0"], Done)
    assert isinstance(outcomes["free"], Done)
    for i in (2, 3, 4):
        found = outcomes[str(i)]
        assert isinstance(found, Failed)
        assert found.skipped
        assert chain[i - 1].id in found.error


def test_all_workers_work_while_there_is_work() -> None:
    pool = FakePool(3)
    run([Task(str(i)) for i in range(9)], pool)
    assert pool.loads == [3] * 7 + [2, 1]


def test_a_freed_task_starts_beside_the_others() -> None:
    a = Task("a")
    b, c = Task("b", (a,)), Task("c", (a,))
    pool = FakePool(2)
    run([a, b, c], pool)
    assert pool.loads == [1, 2, 1]


def test_equal_specs_are_one_task() -> None:
    pool = FakePool(2)
    assert len(run([Task("a"), Task("a")], pool)) == 1


def test_tick_is_called_while_a_slow_task_runs() -> None:
    """A pool may come back empty-handed: the schedule goes on asking, and lets the progress line be drawn."""

    class Slow(FakePool):
        naps = 3

        def wait(self, timeout: float) -> list[Outcome]:
            assert timeout <= 1.0
            self.naps -= 1
            return super().wait(timeout) if self.naps < 0 else []

    ticks: deque[int] = deque()
    assert len(list(run_tasks([Task("a")], Slow(1), nothing, lambda: ticks.append(1)))) == 1
    assert len(ticks) >= 3


def test_a_need_that_nobody_makes_is_reported_at_once() -> None:
    """Rather than never being done, without a word."""
    orphan = Task("orphan", (Task("absent"),))
    with pytest.raises(ValueError, match="not among the specs"):
        list(run_tasks([orphan], FakePool(1), lambda spec: False))


def test_nothing_to_do() -> None:
    assert run([], FakePool(2)) == []


def test_a_users_error_stops_everything() -> None:
    """It would be the same for every spec: one line, not one failure per model."""

    def refuse(spec: Spec) -> None:
        raise UserError("no data here")

    with pytest.raises(UserError, match="no data here"):
        list(run_tasks([Task("a"), Task("b")], SerialPool(refuse), nothing))


def test_any_other_error_is_a_value() -> None:
    def stumble(spec: Spec) -> None:
        if isinstance(spec, Task) and spec.name == "a":
            raise ZeroDivisionError("by nought")

    a = Task("a")
    outcomes = list(run_tasks([a, Task("b", (a,)), Task("c")], SerialPool(stumble), nothing))
    failed = [o for o in outcomes if isinstance(o, Failed)]
    assert [f.skipped for f in failed] == [False, True]
    assert "ZeroDivisionError: by nought" in failed[0].error
    assert __file__.rsplit("/", 1)[-1] in failed[0].error, "where it happened"
    assert failed[0].details.splitlines()[-1] == "ZeroDivisionError: by nought"
    assert "stumble" in failed[0].details
    assert not failed[0].transient
    assert not failed[0].permanent


@pytest.mark.parametrize("error", [ConnectionError("gone"), MemoryError(), torch.OutOfMemoryError("full")])
def test_errors_that_may_pass_are_transient(error: Exception) -> None:
    def stumble(spec: Spec) -> None:
        raise error

    (failed,) = run_tasks([Task("a")], SerialPool(stumble), nothing)
    assert isinstance(failed, Failed)
    assert failed.transient
    assert not failed.permanent
    assert failed.gpu_full == isinstance(error, torch.OutOfMemoryError)


def test_a_full_gpu_is_reported_with_what_was_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line; what was held is given back."""
    freed: list[str] = []
    for name, value in {
        "is_initialized": True,
        "reset_peak_memory_stats": None,
        "max_memory_allocated": 3 * 2**30,
        "get_device_properties": SimpleNamespace(total_memory=80 * 2**30),
        "get_device_name": "a card",
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append("once"))

    def stumble(spec: Spec) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has\na total capacity")

    (failed,) = run_tasks([Task("a")], SerialPool(stumble), nothing)
    assert isinstance(failed, Failed)
    assert failed.error == (
        "the GPU ran out of memory: it held 3.00 GiB and wanted 2.50 GiB more, of 80.0 GiB on a card"
    )
    assert freed == ["once"]


@pytest.mark.parametrize(
    "error",
    [
        GateError("accuracy 0.1 in 3 attempts; the gate is 0.9"),
        NotReachedError("recovery 0.9 was never reached"),
        NotFiniteError("answers: expected numbers, got NaN"),
        SmallClusterError("n_views: expected at most 3"),
    ],
)
def test_what_no_other_try_can_avoid_is_permanent_and_one_line(error: PermanentError) -> None:
    """So are the specs that need it: nothing is left to do for any of them."""

    def stumble(spec: Spec) -> None:
        raise error

    a = Task("a")
    failed, skipped = run_tasks([a, Task("b", (a,))], SerialPool(stumble), nothing)
    assert failed == Failed(a, f"{type(error).__name__}: {error}", permanent=True)
    assert isinstance(skipped, Failed)
    assert skipped.permanent
    assert is_final(failures_of([failed, skipped]))
    assert not is_final(failures_of([failed, Failed(Task("c"), "OSError: no answer", transient=True)]))


def test_the_failures_of_an_earlier_report_are_judged_by_their_messages() -> None:
    """It has no word on whether they are permanent."""

    def record(error: str, skipped: bool = False) -> SpecFailure:
        return SpecFailure(id="i", kind="model", description="a model", error=error, details="", skipped=skipped)

    gate, died = record("GateError: accuracy 0.1"), record("worker died (3 times)")
    skipped = record("needs model i, which failed", skipped=True)
    assert is_final([gate, skipped])
    assert not is_final([gate, skipped, died])
    assert is_final([replace(died, permanent=True)])
    assert not is_final([replace(gate, permanent=False)])


def test_the_pool_has_its_next_work_before_the_outcome_is_looked_at() -> None:
    """Whoever looks at an outcome may take its time: a worker must not wait for that."""
    a = Task("a")
    pool = FakePool(1)
    outcomes = run_tasks([a, Task("b", (a,))], pool, nothing)
    assert next(outcomes).spec == a
    assert [task.name for task in pool.queue] == ["b"]
