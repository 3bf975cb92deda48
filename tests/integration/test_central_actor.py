"""The central actor as its driver sees it, on a simulated Ray: what it could not keep, its outages and its deaths."""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError, OutOfMemoryError, RayTaskError

from uapfp_dist.cluster import central_actor as module
from uapfp_dist.cluster import central_evaluator, tune_trials
from uapfp_dist.cluster.central_actor import BATCH_CALLS, MAX_REPLACEMENTS, Call, _Host
from uapfp_dist.cluster.central_evaluator import CentralEvaluator, make_evaluator
from uapfp_dist.cluster.central_recorder import CentralRecorder, make_recorder
from uapfp_dist.errors import MismatchError, UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.progress import Progress, WorkSummary
from uapfp_dist.reporting.grid_schema import GridReport, Preparation
from uapfp_dist.reporting.report import Report
from uapfp_dist.reporting.report_schema import EvaluationReport, ModelCounts
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.outcomes import Done
from uapfp_dist.tracking.tracker import NullTracker

REPORT = Report(cast(EvaluationReport, None), {})
"""Only handed on."""
GRID_REPORT = cast(GridReport, object())
NOTHING_MADE = Preparation(models=ModelCounts(trained=0, reused=0, failed=0))
WORK = WorkSummary({}, {}, None)
DRIVERS_NODE = "ab" * 28


@dataclass
class FakeRay:
    """Actors whose results are thunks; `faults` are raised, one after the other, instead of the results of a call."""

    faults: dict[str, list[Exception]]
    events: list[str] = field(default_factory=list)
    made: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    gpus: float = 0.0
    """Of the cluster."""
    gpus_here: float = 0.0
    """Of the driver's node."""
    found: Any = (1, 2)
    """What `progress` finds, once the object is built."""

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"NodeID": DRIVERS_NODE, "Resources": {"CPU": 1.0, "GPU": self.gpus_here}},
            {"NodeID": "cd" * 28, "Resources": {"CPU": 1.0, "GPU": self.gpus - self.gpus_here}},
        ]

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0, "GPU": self.gpus} if self.gpus else {"CPU": 2.0}

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
        self.events.append(f"made {number}" + " with a GPU" * bool(self.options["num_gpus"]))
        results = {"begin": "", "judge": REPORT, "progress": self.found, "publish": "", "finish": GRID_REPORT}

        def call(name: str, *arguments: Any) -> Callable[[], Any]:
            self.events.append(f"{name} {number}")
            return lambda: results.get(name)

        def named(name: str) -> Any:
            return SimpleNamespace(remote=lambda *arguments: (name, call(name, *arguments)))

        def call_each(calls: list[Call]) -> tuple[str, Callable[[], list[UserError | str]]]:
            self.events.append(f"received {number}")
            for name, _ in calls:
                call(name)
            host = _Host(lambda: SimpleNamespace(**{name: partial(self._faulty, name) for name, _ in calls}))
            return "received", lambda: host.call_each(calls)

        method = SimpleNamespace(remote=lambda name, *arguments: (name, call(name, *arguments)))
        several = SimpleNamespace(remote=call_each)
        return SimpleNamespace(call=method, call_each=several, progress=named("progress"), number=number)

    def _faulty(self, name: str, *arguments: Any) -> None:
        if self.faults.get(name):
            raise self.faults[name].pop(0)

    def get(self, reference: Any, timeout: float | None = None) -> Any:
        name, result = reference
        if self.faults.get(name):
            raise self.faults[name].pop(0)
        return result()

    def kill(self, actor: Any) -> None:
        self.events.append(f"killed {actor.number}")


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeRay]:
    """Puts a fake in the place of Ray."""

    def make(gpus: float = 0.0, **faults: list[Exception]) -> FakeRay:
        fake = FakeRay(faults, gpus=gpus)
        for user in (module, central_evaluator):
            monkeypatch.setattr(user, "ray", fake)
        return fake

    return make


def on_no_storage(plan: Plan, out: io.StringIO | None = None, bound: str = "") -> CentralEvaluator:
    """On no storage: the actor is a fake."""
    return CentralEvaluator(plan, "nowhere", "marker", NullTracker, Progress(0, out or io.StringIO()), bound=bound)


def central_recorder(out: io.StringIO | None = None) -> CentralRecorder:
    """The same of a grid without cells."""
    return CentralRecorder([], "nowhere", "marker", NullTracker, Progress(0, out or io.StringIO()))


@pytest.fixture
def judged(digits_plan: Plan, fakes: Callable[..., FakeRay]) -> Callable[..., tuple[FakeRay, str]]:
    """Begins, observes two models, notes three times and judges, through `faults`; what went on and what was shown."""

    def run(gpus: float = 0.0, **faults: list[Exception]) -> tuple[FakeRay, str]:
        fake, shown = fakes(gpus, **faults), io.StringIO()
        evaluator = on_no_storage(digits_plan, shown)
        assert evaluator.begin({}) == ""
        for member in digits_plan.members[:2]:
            evaluator.observe(Done(member.spec, 1.0, "w"))
        for seconds in (30, 60, 90):
            evaluator.note({}, seconds)
        assert evaluator.judge(WORK) is REPORT
        return fake, shown.getvalue()

    return run


def test_outcomes_travel_together(digits_plan: Plan, fakes: Callable[..., FakeRay]) -> None:
    """Each once, in their order, before what is called later; a new actor is sent all of them, as few times."""
    fake, n = fakes(judge=[ActorDiedError()]), 3 * BATCH_CALLS + 7
    evaluator, spec = on_no_storage(digits_plan), digits_plan.members[0].spec
    evaluator.begin({})
    for _ in range(n):
        evaluator.observe(Done(spec, 1.0, "w"))
    evaluator.judge(WORK)
    for actor in (1, 2):
        assert fake.events.count(f"observe {actor}") == n
        assert fake.events.count(f"received {actor}") <= 5, "the first waits for no other"
        last = max(i for i, event in enumerate(fake.events) if event == f"observe {actor}")
        assert fake.events.index(f"judge {actor}") > last
    assert fake.events.index("begin 2") < fake.events.index("observe 2")


def test_what_has_waited_is_sent_before_a_note_and_before_the_end(
    digits_plan: Plan, fakes: Callable[..., FakeRay], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_SECONDS", 1e9)
    fake, spec = fakes(), digits_plan.members[0].spec
    evaluator = on_no_storage(digits_plan)
    evaluator.begin({})
    evaluator.observe(Done(spec, 1.0, "w"))
    assert "observe 1" not in fake.events
    evaluator.note({}, 30)
    evaluator.observe(Done(spec, 1.0, "w"))
    evaluator.close("FAILED")
    ours = [event for event in fake.events if event.split()[0] in ("observe", "note", "close")]
    assert ours == ["observe 1", "note 1", "observe 1", "close 1"]


def test_of_several_calls_each_is_made_whatever_became_of_the_others() -> None:
    def note(what: object) -> object:
        done.append(what)
        if isinstance(what, UserError):
            return what
        if isinstance(what, Exception):
            raise what
        return None

    done: list[object] = []
    refused = UserError("x: expected y, got z")
    calls = [("note", (what,)) for what in (1, OSError("no answer"), refused, 2)]
    assert _Host(lambda: SimpleNamespace(note=note)).call_each(calls) == ["OSError: no answer", refused]
    assert done == [what for _, (what,) in calls]


def failed(error: Exception) -> Exception:
    """As Ray hands it on."""
    return RayTaskError("call", f"Traceback\n{type(error).__name__}: {error}", error).as_instanceof_cause()


def test_nothing_went_wrong(judged: Callable[..., tuple[FakeRay, str]]) -> None:
    """However fast it was."""
    fake, shown = judged()
    assert fake.made == 1
    assert shown == ""


def test_an_outcome_that_could_not_be_kept_is_reported_and_judging_goes_on(
    judged: Callable[..., tuple[FakeRay, str]],
) -> None:
    fake, shown = judged(observe=[OSError("the storage did not answer")])
    assert fake.made == 1
    assert "evaluator: OSError: the storage did not answer; the work goes on" in shown


def test_an_actor_whose_host_is_silent_is_waited_for_until_it_is_declared_dead(
    judged: Callable[..., tuple[FakeRay, str]],
) -> None:
    silent: list[Exception] = [GetTimeoutError() for _ in range(3)]
    fake, _ = judged(judge=[*silent, ActorDiedError()], progress=silent[:])
    assert fake.made == 2
    assert fake.events.index("killed 1") < fake.events.index("made 2")
    assert fake.events.count("observe 2") == 2, "what was sent is sent again"


def test_there_is_one_writer_at_a_time(judged: Callable[..., tuple[FakeRay, str]]) -> None:
    """An actor out of reach may still be at work."""
    fake, _ = judged(judge=[ActorUnavailableError("away", None)])
    assert fake.events.index("killed 1") < fake.events.index("made 2")


@pytest.mark.parametrize("call", ["begin", "judge", "note"])
@pytest.mark.parametrize("error", [ActorDiedError(), OutOfMemoryError("its node ran out of memory")])
def test_a_dead_actor_is_replaced_however_it_died(
    call: str, error: Exception, judged: Callable[..., tuple[FakeRay, str]]
) -> None:
    """Ray's memory monitor kills with an error that is no subclass of the others."""
    fake, shown = judged(**{call: [error]})
    assert fake.made == 2
    assert fake.events.count("begin 2") == 1
    assert "the evaluator is replaced" in shown


def test_a_dead_actor_is_noticed_at_the_next_note(judged: Callable[..., tuple[FakeRay, str]]) -> None:
    """Not when all is trained. What it did not note is not repeated, one that is only out of reach is left."""
    fake, _ = judged(note=[ActorDiedError()])
    assert fake.events.index("made 2") < fake.events.index("judge 2")
    assert (fake.events.count("note 1"), fake.events.count("note 2"), fake.events.count("judge 1")) == (1, 2, 0)
    assert fake.events.count("observe 2") == 2
    fake, shown = judged(note=[ActorUnavailableError("away", None), failed(OSError("no answer"))])
    assert fake.made == 1
    assert shown == ""


def test_replacements_are_counted_over_all_of_an_evaluation(judged: Callable[..., tuple[FakeRay, str]]) -> None:
    faults = {"begin": 1, "note": 1, "judge": MAX_REPLACEMENTS - 2}
    fake, _ = judged(**{name: [ActorDiedError() for _ in range(n)] for name, n in faults.items()})
    assert fake.made == 1 + MAX_REPLACEMENTS
    with pytest.raises(ActorDiedError):
        judged(**{name: [ActorDiedError() for _ in range(n + 1)] for name, n in faults.items()})
    fake, _ = judged(note=[ActorDiedError(), ActorDiedError()], begin=[ActorDiedError(), ActorDiedError()])
    assert fake.made == 1 + MAX_REPLACEMENTS, "a note alone ends nothing"


def test_a_tracker_that_opens_no_run_is_reported_with_its_argument(
    digits_plan: Plan, fakes: Callable[..., FakeRay]
) -> None:
    fakes(begin=[GetTimeoutError()])
    with pytest.raises(UserError, match="expected the tracker to open a run within 300 s") as error:
        on_no_storage(digits_plan).begin({})
    assert error.value.argument == "mlflow_uri"


def test_encoders_are_trained_on_a_gpu_once_the_workers_have_gone(judged: Callable[..., tuple[FakeRay, str]]) -> None:
    """One writer at a time, and the new one knows all that the old one was sent."""
    fake, shown = judged(gpus=1.0)
    assert "made 2 with a GPU" in fake.events
    assert fake.events.index("killed 1") < fake.events.index("begin 2") < fake.events.index("judge 2")
    assert fake.events.count("observe 2") == 2
    assert "judge 1" not in fake.events
    assert "the evaluator goes on with 1 GPU" in shown


def test_a_gpu_that_others_hold_is_not_waited_for(judged: Callable[..., tuple[FakeRay, str]]) -> None:
    fake, shown = judged(gpus=1.0, progress=[GetTimeoutError()])
    assert "killed 2" in fake.events
    assert "judge 1" in fake.events
    assert "no GPU was free for the evaluator within 60 s" in shown


def test_an_evaluator_that_dies_on_a_gpu_is_replaced_on_cpus(judged: Callable[..., tuple[FakeRay, str]]) -> None:
    """Its node may have been the only one with a GPU."""
    fake, _ = judged(gpus=1.0, judge=[ActorDiedError()])
    assert "made 3" in fake.events
    assert "judge 3" in fake.events


@pytest.mark.parametrize(("bound", "soft"), [("", True), ("MLflow is a file there", False)])
def test_an_evaluator_whose_tracker_is_a_file_takes_a_gpu_of_its_own_node_alone(
    bound: str, soft: bool, digits_plan: Plan, fakes: Callable[..., FakeRay]
) -> None:
    """Elsewhere it would write into a fresh database, which nobody reads."""
    fake, shown = fakes(2.0), io.StringIO()
    on_no_storage(digits_plan, shown, bound).judge(WORK)
    assert ("made 2 with a GPU" in fake.events) == soft
    assert ("the evaluator stays on its node, on CPUs: MLflow is a file there\n" in shown.getvalue()) == bool(bound)
    fake = fakes(2.0)
    fake.gpus_here = 1.0
    on_no_storage(digits_plan, bound=bound).judge(WORK)
    assert "made 2 with a GPU" in fake.events
    node = fake.options["scheduling_strategy"]
    assert (node.node_id, node.soft) == (DRIVERS_NODE, soft)


def test_an_evaluator_stays_where_a_node_with_a_gpu_lacks_the_storage(
    digits_plan: Plan, fakes: Callable[..., FakeRay]
) -> None:
    """The models are made: their judging does not end for want of a GPU."""
    fake, shown = fakes(1.0), io.StringIO()
    fake.found = MismatchError("storage /s: expected the driver's files here")
    assert on_no_storage(digits_plan, shown).judge(WORK) is REPORT
    assert "killed 2" in fake.events
    assert "judge 1" in fake.events
    assert "could not start on a GPU (storage /s: expected the driver's files here)" in shown.getvalue()


@pytest.mark.parametrize("error", [ActorDiedError(), OutOfMemoryError("its node ran out of memory")])
def test_the_end_outlives_a_dead_actor(error: Exception, digits_plan: Plan, fakes: Callable[..., FakeRay]) -> None:
    """What it was to show is in the store; the recorder of a grid does likewise."""
    fakes(publish=[error], close=[error])
    evaluator = on_no_storage(digits_plan)
    assert "the evaluator died while it showed the result" in evaluator.publish()
    evaluator.close("FINISHED")
    fake = fakes(finish=[error], publish=[error], close=[error])
    recorder = central_recorder()
    recorder.begin({}, {})
    assert recorder.finish({}, NOTHING_MADE) is GRID_REPORT
    assert fake.made == 2
    assert fake.events.count("begin 2") == 1
    assert "the recorder died while it showed the result" in recorder.publish()
    recorder.close("FINISHED")


def test_central_actors_are_placed_beside_the_driver(digits_plan: Plan, fakes: Callable[..., FakeRay]) -> None:
    """A worker's node may go at any time, and may not see the storage."""
    fake = fakes()
    on_no_storage(digits_plan)
    node = fake.options.pop("scheduling_strategy")
    assert (node.node_id, node.soft) == (DRIVERS_NODE, True)
    assert fake.options["num_cpus"] == 0
    central_recorder()
    assert fake.options["scheduling_strategy"].node_id == DRIVERS_NODE


def test_the_actor_proves_that_it_sees_the_drivers_storage(
    digits_plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uapfp_dist.storage.store.MARKER_SECONDS", 0.0)
    ours, theirs = (Store(str(tmp_path / name)) for name in ("ours", "theirs"))
    marker = ours.write_marker()
    host = _Host(partial(make_evaluator, digits_plan, ours.url, marker, NullTracker))
    assert host.progress() is None
    assert host.call("begin", {}) == ""
    assert host.progress() == host.call("progress")
    error = _Host(partial(make_evaluator, digits_plan, theirs.url, marker, NullTracker)).call("begin", {})
    assert isinstance(error, UserError)
    assert "expected the driver's files here" in str(error)
    assert error.argument == "storage"
    assert "\n" not in str(error)


def test_a_grids_processes_prove_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node without the storage would look for responses where there are none, and call every cell failed."""
    monkeypatch.setattr("uapfp_dist.storage.store.MARKER_SECONDS", 0.0)
    ours, theirs = (Store(str(tmp_path / name)) for name in ("ours", "theirs"))
    marker = ours.write_marker()
    trial = object.__new__(tune_trials._Trial)
    trial.setup({"cell": "c"}, {}, ours.url, marker, None)
    with pytest.raises(MismatchError, match=r"node .*expected the driver's files here"):
        trial.setup({"cell": "c"}, {}, theirs.url, marker, None)
    error = _Host(partial(make_recorder, [], theirs.url, marker, NullTracker)).call("begin", {}, {})
    assert isinstance(error, UserError)


def test_judging_takes_the_cpus_of_its_own_node(digits_plan: Plan, tmp_path: Path) -> None:
    """A cluster may begin without any, and grow to thousands that one process does not have."""
    store = Store(str(tmp_path))
    evaluator = make_evaluator(digits_plan, store.url, store.write_marker(), NullTracker)
    assert evaluator.threads == len(os.sched_getaffinity(0))
