"""On which device a process computes: on the GPU that it was given, however many it sees."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from system import tiny, tiny_plan

from uapfp_dist.central import evaluator as evaluator_module
from uapfp_dist.central.evaluator import Evaluator
from uapfp_dist.cluster.central_evaluator import make_evaluator
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.data import Dataset
from uapfp_dist.evaluation.grid_axes import parse_grid
from uapfp_dist.evaluation.grid_cells import make_cells
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.launch import ablation, evaluation
from uapfp_dist.launch.ablation import GridRun
from uapfp_dist.launch.enrollment import workers
from uapfp_dist.launch.evaluation import EvaluationRun
from uapfp_dist.launch.workers import own_device
from uapfp_dist.progress import Progress
from uapfp_dist.storage.store import Store
from uapfp_dist.tracking.tracker import NullTracker


@pytest.fixture(autouse=True)
def _sees_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Of a tiny evaluation."""
    return tiny_plan()


@pytest.fixture(params=[(0.0, "cpu"), (None, "cuda")], ids=["no-gpus-per-worker", "default"])
def run_and_device(
    request: pytest.FixtureRequest, plan: Plan, digits: Dataset, tmp_path: Path
) -> tuple[EvaluationRun, str]:
    """A run without Ray by its GPUs per worker, and where it computes on a machine that has one."""
    share, device = request.param
    runtime = RuntimeConfig(storage=str(tmp_path), workers=0, gpus_per_worker=share)
    store, progress = Store(str(tmp_path)), Progress(workers=0)
    return EvaluationRun(plan, "digits", digits, store, resolve(runtime), runtime, progress=progress), device


@pytest.mark.parametrize(("held", "device"), [([], "cpu"), ([3], "cuda")])
def test_an_evaluator_in_an_actor_trains_on_the_gpu_that_it_holds(
    held: list[int], device: str, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One without any sees every GPU all the same."""
    monkeypatch.setattr(ray, "get_gpu_ids", lambda: held)
    store, given = Store(str(tmp_path)), list[Any]()

    def score(matrix: object, resamples: object, *rest: Any) -> Iterator[Any]:
        given.append(rest[-1])
        yield from ()

    monkeypatch.setattr(evaluator_module, "score_resamples", score)
    evaluator = make_evaluator(plan, store.url, store.write_marker(), NullTracker)
    matrix: Any = None
    assert list(evaluator._fitted(matrix, [])) == []
    assert [torch.device(one).type for one in given] == [device]


def test_an_evaluator_that_is_told_of_no_device_takes_the_cpu(plan: Plan, tmp_path: Path) -> None:
    assert torch.device(Evaluator(plan, Store(str(tmp_path)), NullTracker())._device).type == "cpu"


class DeviceTakenError(Exception):
    """The device is known; nothing is trained."""


def stop(store: object, data_root: object, device: torch.device, *rest: object, **options: object) -> None:
    """In the place of `TaskContext`."""
    raise DeviceTakenError(device.type)


def test_a_run_without_ray_takes_no_gpu_where_workers_have_none(
    run_and_device: tuple[EvaluationRun, str], digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluation, grid and enrolment alike."""
    run, device = run_and_device
    monkeypatch.setattr(evaluation, "TaskContext", stop)
    monkeypatch.setattr(ablation, "TaskContext", stop)
    cells = make_cells(parse_grid(["n_points=10"]), tiny(), 0, lambda data: digits)
    starts: list[Callable[[], object]] = [
        lambda: run._serial({}, True),
        GridRun(cells, run.store, run.paths, run.runtime, run.progress, {}, {}).here,
    ]
    for start in starts:
        with pytest.raises(DeviceTakenError, match=device):
            start()
    with workers(run.runtime, run.paths, run.store, run.plan.data, run.progress) as made_by:
        assert made_by.room.gpus == (device == "cuda")
    assert own_device(run.runtime).type == device


def test_a_run_without_ray_judges_where_it_trains(
    run_and_device: tuple[EvaluationRun, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluator(*arguments: object, device: torch.device, **options: object) -> None:
        raise DeviceTakenError(device.type)

    run, device = run_and_device
    monkeypatch.setattr(evaluation, "Evaluator", evaluator)
    with pytest.raises(DeviceTakenError, match=device):
        run._serial({}, True)
