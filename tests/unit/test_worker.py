"""What runs in the processes of a cluster, in this one: the worker, and a function of many items. Ray is a stand-in."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import torch
from ray.exceptions import RayTaskError, WorkerCrashedError
from system import tiny_plan

from uapfp_dist.cluster import map_tasks as module
from uapfp_dist.cluster.map_tasks import map_tasks
from uapfp_dist.cluster.worker import DECLARED, Worker, open_context
from uapfp_dist.errors import MismatchError, UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.outcomes import Done


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "get_gpu_ids", list)
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "10.0.0.1")


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Of a tiny evaluation."""
    return tiny_plan()


def test_a_worker_performs_specs_into_the_drivers_storage(plan: Plan, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    worker = Worker(partial(open_context, store.url, None, store.write_marker(), plan.data))
    assert worker.start() is None
    victim = plan.members[0].spec
    outcome = worker.perform(victim)
    assert isinstance(outcome, Done)
    assert (outcome.spec, outcome.worker) == (victim, worker.name)
    assert worker.name.startswith("10.0.0.1:")
    assert store.has("model", victim.id)


def test_another_storage_or_other_images_are_an_error_that_names_the_node(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a value: Ray would wrap what is raised."""
    monkeypatch.setattr("uapfp_dist.storage.store.MARKER_SECONDS", 0.0)
    store = Store(str(tmp_path))
    marker = store.write_marker()
    other = replace(plan.data, digest="0" * 64)
    for given, data in (("nobody's", plan.data), (marker, other)):
        error = Worker(partial(open_context, store.url, None, given, data)).start()
        assert isinstance(error, MismatchError)
        assert str(error).startswith("node 10.0.0.1 (")


@pytest.mark.parametrize(
    ("built", "cause"), [(False, "it is a build for CPUs"), (True, "its driver is missing or broken")]
)
def test_a_gpu_that_cannot_be_used_is_an_error_of_its_node(
    built: bool, cause: str, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a training on the CPU that nobody asked for; on GPUs that are only declared it is meant."""
    monkeypatch.setattr(ray, "get_gpu_ids", lambda: [0])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: built)
    monkeypatch.delenv(DECLARED, raising=False)
    store = Store(str(tmp_path))
    worker = Worker(partial(open_context, store.url, None, store.write_marker(), plan.data))
    error = worker.start()
    assert isinstance(error, MismatchError)
    assert str(error).startswith("node 10.0.0.1 (")
    assert f"cannot ({cause}); " in str(error)
    assert "\n" not in str(error)
    assert error.argument == "gpus_per_worker"
    monkeypatch.setenv(DECLARED, "1")
    assert worker.start() is None


def test_a_users_error_over_the_work_names_the_node(plan: Plan) -> None:
    def refuses(spec: object) -> None:
        raise UserError("disk: full", argument="storage")

    worker = Worker(lambda: refuses)
    worker.start()
    error = worker.perform(plan.members[0].spec)
    assert isinstance(error, UserError)
    assert "10.0.0.1" in str(error)
    assert str(error).endswith("disk: full")


class _Ray:
    """Tasks at once, in this process; an exception is kept until somebody gets the result."""

    exceptions = ray.exceptions

    def put(self, value: Any) -> Any:
        return value

    def remote(self, **options: Any) -> Callable[[Callable[..., Any]], Any]:
        def decorated(function: Callable[..., Any]) -> Any:
            return SimpleNamespace(remote=lambda *arguments: partial(function, *arguments))

        return decorated

    def get(self, task: Callable[[], Any]) -> Any:
        return task()


@pytest.fixture
def _tasks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def session(address: str | None) -> Iterator[None]:
        yield None

    monkeypatch.setattr(module, "ray", _Ray())
    monkeypatch.setattr(module, "session", session)


@pytest.mark.usefixtures("_tasks_at_once")
def test_results_come_in_order_and_a_lost_one_holds_up_nobody() -> None:
    def third(number: int) -> str:
        if number % 3 == 0:
            raise WorkerCrashedError()
        return str(number)

    found = map_tasks(third, [1, 2, 3, 4], None, lambda why: f"lost: {why}")
    assert found[:2] + found[3:] == ["1", "2", "4"]
    assert found[2].startswith("lost: its worker was lost, several times (")


@pytest.mark.usefixtures("_tasks_at_once")
def test_an_internal_error_is_no_lost_worker() -> None:
    def raises(number: int) -> str:
        raise RayTaskError("raises", "the traceback", ValueError("no good"))

    with pytest.raises(RayTaskError):
        map_tasks(raises, [1], None, lambda why: why)
