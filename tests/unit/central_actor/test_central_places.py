"""Where a central actor is placed: beside the driver, on its storage, and on a GPU for the encoders."""

import io
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from fake_ray import DRIVERS_NODE, REPORT, WORK, FakeRay, central_recorder, on_no_storage
from ray.exceptions import ActorDiedError, GetTimeoutError

from uapfp_dist.cluster import tune_trials
from uapfp_dist.cluster.central_actor import _Host
from uapfp_dist.cluster.central_evaluator import make_evaluator
from uapfp_dist.cluster.central_recorder import make_recorder
from uapfp_dist.errors import MismatchError, UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.storage.store import Store
from uapfp_dist.tracking.tracker import NullTracker


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
