"""The central actor as its driver sees it, on a Ray that is only imagined: what it does not keep, when it is away."""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError, OutOfMemoryError, RayTaskError

from uapfp_dist.cluster import central_actor as central
from uapfp_dist.cluster import central_evaluator as module
from uapfp_dist.cluster import central_recorder as recorder
from uapfp_dist.cluster import tune_trials as sweep
from uapfp_dist.cluster.central_evaluator import MOST_LIVES, CentralEvaluator, _Actor
from uapfp_dist.cluster.central_recorder import CentralRecorder
from uapfp_dist.errors import MismatchError, UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.progress import Progress
from uapfp_dist.reporting.report import Report
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.outcomes import Done
from uapfp_dist.tracking.tracker import NullTracker

REPORT = Report({"verdicts": []}, {})
DRIVERS_NODE = "ab" * 28


@dataclass
class FakeRay:
    """Actors whose answers are thunks; `faults` are raised, one after the other, instead of answers to a call."""

    faults: dict[str, list[Exception]]
    events: list[str] = field(default_factory=list)
    made: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: DRIVERS_NODE)

    def wait(self, references: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return references, []

    def remote(self, **options: Any) -> Callable[[Any], Any]:
        self.options = options
        return lambda kind: SimpleNamespace(remote=lambda *arguments: self._actor())

    def _actor(self) -> Any:
        self.made += 1
        number = self.made
        self.events.append(f"made {number}")
        answers = {"begin": "", "judge": REPORT, "progress": (1, 2), "publish": "", "finish": {}}

        def call(name: str, *arguments: Any) -> Callable[[], Any]:
            self.events.append(f"{name} {number}")
            return lambda: answers.get(name)

        def named(name: str) -> Any:
            return SimpleNamespace(remote=lambda *arguments: (name, call(name, *arguments)))

        told = SimpleNamespace(remote=lambda name, *arguments: (name, call(name, *arguments)))
        return SimpleNamespace(call=told, progress=named("progress"), number=number)

    def get(self, reference: Any, timeout: float | None = None) -> Any:
        name, answer = reference
        if self.faults.get(name):
            raise self.faults[name].pop(0)
        return answer()

    def kill(self, actor: Any) -> None:
        self.events.append(f"killed {actor.number}")


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeRay]:
    """Puts a fake in the place of Ray."""

    def make(**faults: list[Exception]) -> FakeRay:
        fake = FakeRay(faults)
        for part in (module, central, recorder):
            monkeypatch.setattr(part, "ray", fake)
        return fake

    return make


@pytest.fixture
def judged(digits_plan: Plan, fakes: Callable[..., FakeRay]) -> Callable[..., tuple[FakeRay, str]]:
    """Begins, observes two models, notes thrice and judges, through `faults`; what went on and what was said."""

    def run(**faults: list[Exception]) -> tuple[FakeRay, str]:
        fake, told = fakes(**faults), io.StringIO()
        arbiter = CentralEvaluator(digits_plan, "nowhere", "mark", NullTracker, Progress(0, told))
        assert arbiter.begin({}) == ""
        for member in digits_plan.members[:2]:
            arbiter.observe(Done(member.spec, 1.0, "w"))
        for seconds in (30, 60, 90):
            arbiter.note({}, seconds)
        assert arbiter.judge({}) is REPORT
        return fake, told.getvalue()

    return run


def failed(error: Exception) -> Exception:
    """As Ray hands it on."""
    return RayTaskError("call", f"Traceback\n{type(error).__name__}: {error}", error).as_instanceof_cause()


def test_nothing_went_wrong(judged: Callable[..., tuple[FakeRay, str]]) -> None:
    """However fast it was."""
    fake, told = judged()
    assert fake.made == 1
    assert told == ""


def test_an_outcome_that_could_not_be_kept_is_told_and_judging_goes_on(
    judged: Callable[..., tuple[FakeRay, str]],
) -> None:
    fake, told = judged(observe=[failed(OSError("the storage did not answer"))])
    assert fake.made == 1
    assert "OSError: the storage did not answer; judging goes on" in told


def test_an_actor_whose_host_says_nothing_is_waited_for_until_it_is_declared_dead(
    judged: Callable[..., tuple[FakeRay, str]],
) -> None:
    silent: list[Exception] = [GetTimeoutError() for _ in range(3)]
    fake, _ = judged(judge=[*silent, ActorDiedError()], progress=silent[:])
    assert fake.made == 2
    assert fake.events.index("killed 1") < fake.events.index("made 2")
    assert fake.events.count("observe 2") == 2, "told again what was seen"


def test_there_is_one_writer_at_a_time(judged: Callable[..., tuple[FakeRay, str]]) -> None:
    """An actor out of reach may still be at work."""
    fake, _ = judged(judge=[ActorUnavailableError("away", None)])
    assert fake.events.index("killed 1") < fake.events.index("made 2")


@pytest.mark.parametrize("call", ["begin", "judge", "note"])
@pytest.mark.parametrize("error", [ActorDiedError(), OutOfMemoryError("its node ran out of memory")])
def test_a_dead_actor_is_replaced_however_it_died(
    call: str, error: Exception, judged: Callable[..., tuple[FakeRay, str]]
) -> None:
    """Ray's memory monitor kills with an error that is no kind of the others."""
    fake, told = judged(**{call: [error]})
    assert fake.made == 2
    assert fake.events.count("begin 2") == 1
    assert "the arbiter is replaced" in told


def test_a_dead_actor_is_noticed_at_the_next_note(judged: Callable[..., tuple[FakeRay, str]]) -> None:
    """Not when all is trained. What it did not note is not repeated, one that is only out of reach is left."""
    fake, _ = judged(note=[ActorDiedError()])
    assert fake.events.index("made 2") < fake.events.index("judge 2")
    assert (fake.events.count("note 1"), fake.events.count("note 2"), fake.events.count("judge 1")) == (1, 2, 0)
    assert fake.events.count("observe 2") == 2
    fake, told = judged(note=[ActorUnavailableError("away", None), failed(OSError("no answer"))])
    assert fake.made == 1
    assert told == ""


def test_lives_are_counted_over_all_of_an_evaluation(judged: Callable[..., tuple[FakeRay, str]]) -> None:
    faults = {"begin": 1, "note": 1, "judge": MOST_LIVES - 3}
    fake, _ = judged(**{name: [ActorDiedError() for _ in range(n)] for name, n in faults.items()})
    assert fake.made == MOST_LIVES
    with pytest.raises(ActorDiedError):
        judged(**{name: [ActorDiedError() for _ in range(n + 1)] for name, n in faults.items()})
    fake, _ = judged(note=[ActorDiedError(), ActorDiedError()], begin=[ActorDiedError(), ActorDiedError()])
    assert fake.made == MOST_LIVES, "a note alone ends nothing"


@pytest.mark.parametrize("error", [ActorDiedError(), OutOfMemoryError("its node ran out of memory")])
def test_the_end_outlives_a_dead_actor(error: Exception, digits_plan: Plan, fakes: Callable[..., FakeRay]) -> None:
    """What it was to show is in the store; the recorder of a grid does likewise."""
    fakes(publish=[error], close=[error])
    arbiter = CentralEvaluator(digits_plan, "nowhere", "mark", NullTracker, Progress(0, io.StringIO()))
    assert "the arbiter died while it showed the report" in arbiter.publish()
    arbiter.close("FINISHED")
    fake = fakes(finish=[error], publish=[error], close=[error])
    recorder = CentralRecorder([], "nowhere", "no mark", NullTracker)
    recorder.begin({}, {})
    assert recorder.finish({}, {}) == {}
    assert fake.made == 2
    assert "the recorder died while it showed the grid" in recorder.publish()
    recorder.close("FINISHED")


def test_central_actors_stand_beside_the_driver(digits_plan: Plan, fakes: Callable[..., FakeRay]) -> None:
    """A worker's node may go at any time, and be blind to the storage."""
    fake = fakes()
    CentralEvaluator(digits_plan, "nowhere", "mark", NullTracker, Progress(0, io.StringIO()))
    place = fake.options.pop("scheduling_strategy")
    assert (place.node_id, place.soft) == (DRIVERS_NODE, True)
    assert fake.options["num_cpus"] == 0
    CentralRecorder([], "nowhere", "no mark", NullTracker)
    assert fake.options["scheduling_strategy"].node_id == DRIVERS_NODE


def test_the_actor_proves_that_it_sees_the_drivers_storage(
    digits_plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uapfp_dist.storage.store.SIGHT_SECONDS", 0.0)
    ours, theirs = (Store(str(tmp_path / name)) for name in ("ours", "theirs"))
    mark = ours.leave_mark()
    assert _Actor(digits_plan, ours.url, mark, NullTracker).call("begin", {}) == ""
    error = _Actor(digits_plan, theirs.url, mark, NullTracker).call("begin", {})
    assert isinstance(error, UserError)
    assert "expected the driver's files here" in str(error)
    assert "\n" not in str(error)


def test_a_grids_processes_prove_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blind node would look for answers where there are none, and call every cell failed."""
    monkeypatch.setattr("uapfp_dist.storage.store.SIGHT_SECONDS", 0.0)
    ours, theirs = (Store(str(tmp_path / name)) for name in ("ours", "theirs"))
    mark = ours.leave_mark()
    trial = object.__new__(sweep._Trial)
    trial.setup({"cell": "c"}, {}, ours.url, mark, None)
    with pytest.raises(MismatchError, match=r"node .*expected the driver's files here"):
        trial.setup({"cell": "c"}, {}, theirs.url, mark, None)
    error = recorder._Actor([], theirs.url, mark, NullTracker).call("begin", {}, {})
    assert isinstance(error, UserError)


def test_judging_takes_the_cpus_of_its_own_node(digits_plan: Plan, tmp_path: Path) -> None:
    """A cluster may begin without any, and grow to thousands that one process does not have."""
    store = Store(str(tmp_path))
    actor = _Actor(digits_plan, store.url, store.write_marker(), NullTracker)
    assert actor._make().threads == len(os.sched_getaffinity(0))
