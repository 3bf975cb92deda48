"""What an enrolment will cost on GPUs."""

import io
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from small_enrollment import small_plan

from uapfp_dist.cluster.capacity import workers_at_once
from uapfp_dist.cluster.session import ClusterResources
from uapfp_dist.cluster.spec_resources import SMALL_NETS
from uapfp_dist.data import Dataset
from uapfp_dist.evaluation import cost
from uapfp_dist.evaluation.cost import RunCost, cost_of
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.launch import cost as launch_cost
from uapfp_dist.launch.apart import apart
from uapfp_dist.launch.cost import WorkerRoom, say_cost
from uapfp_dist.models import ARCHITECTURES
from uapfp_dist.progress import Progress
from uapfp_dist.storage.store import Store

COST = RunCost(10, 2, 3600.0, "the models made before", {"A": 2400.0, "resnet18": 1200.0})


def test_minutes_follow_from_the_room_on_gpus() -> None:
    """2,400 s of small nets, eight at a time, and 1,200 s of large ones, two at a time, are a quarter of an hour."""
    assert "about 30 min on 2 workers, by the models made before" in COST.summary(2)
    at_once = {"A": 8, "resnet18": 2}.__getitem__
    assert "about 15 min on 8 workers on GPUs, by" in COST.summary(2, at_once)
    assert "about 60 min on 1 worker on GPUs, by" in COST.summary(2, lambda architecture: 0), "nodes may come"


def test_sharing_a_gpu_is_not_free_where_the_time_was_measured_alone() -> None:
    """2,400 s alone on a GPU are 20 minutes on two, whoever shares them; 1,200 s by cards are 10 for two workers."""
    alone = replace(COST, alone={"A": 2400.0})
    at_once = {"A": 8, "resnet18": 2}.__getitem__
    assert "about 30 min on 8 workers on GPUs, by" in alone.summary(2, at_once, gpus=2)
    assert "about 60 min on 1 worker on GPUs, by" in alone.summary(2, lambda architecture: 1, gpus=2), "one uses one"
    part = replace(COST, alone={"A": 1200.0})
    assert "about 23 min on 8 workers on GPUs, by" in part.summary(2, at_once, gpus=2)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_only_what_is_measured_on_a_gpu_is_measured_alone_there(
    device: str, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "seconds_per_image", lambda spec, context: 0.01)
    plan = small_plan(digits)
    found = cost_of(
        plan.specs, plan.siblings, TaskContext(Store(str(tmp_path)), None, torch.device(device)), on_gpus=True
    )
    assert found.seconds > 0
    assert found.alone == (found.by_architecture if device == "cuda" else {})


@pytest.mark.parametrize(
    ("gpus", "workers", "per_worker", "expected"),
    [(2.0, None, None, (8, 4)), (2.0, 3, None, (3, 3)), (2.0, None, 1.0, (2, 2)), (2.0, None, 0.1, (16, 16))],
)
def test_gpus_have_room_for_workers_by_architecture(
    gpus: float, workers: int | None, per_worker: float | None, expected: tuple[int, int]
) -> None:
    at_once = workers_at_once(ClusterResources(16, gpus, elastic=False), workers, per_worker)
    assert at_once is not None
    assert (at_once("A"), at_once("resnet18")) == expected


def test_without_gpus_there_is_no_such_room() -> None:
    assert workers_at_once(ClusterResources(16, 0.0, elastic=False), None, None) is None
    assert workers_at_once(ClusterResources(16, 2.0, elastic=False), None, 0.0) is None
    given = workers_at_once(ClusterResources(16, 1.0, elastic=False), None, None, {"resnet18": 0.25})
    assert given is not None
    assert given("resnet18") == 4


def test_nets_that_share_a_gpu_by_four_are_those_whose_step_is_recorded() -> None:
    """Both follow from one fact, which a net states of itself."""
    with torch.device("meta"):
        nets = {name: ARCHITECTURES[name]((3, 32, 32), 10, 4) for name in ARCHITECTURES}
    assert {name for name, net in nets.items() if net.small} == SMALL_NETS


@pytest.mark.parametrize("fails", [False, True])
def test_it_is_measured_where_the_models_are_made(fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU that this process sees, by another; one that is full is no reason to end."""
    context = TaskContext(Store(str(tmp_path)), None, torch.device("cpu"))
    seen: list[tuple[str, bool]] = []

    def estimate(where: TaskContext, *, on_gpus: bool) -> RunCost:
        seen.append((where.device.type, on_gpus))
        return COST

    def elsewhere(call: Callable[[], RunCost], seconds: float) -> RunCost | None:
        return None if fails else call()

    def summary(at_once: Callable[[str], int] | None) -> str:
        out = io.StringIO()
        say_cost(estimate, context, WorkerRoom(2, at_once, 1), None, Progress(workers=1, out=out))
        return out.getvalue()

    monkeypatch.setattr(launch_cost, "apart", elsewhere)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert "on 2 workers, by" in summary(None)
    assert "on GPUs" in summary(lambda architecture: 4)
    assert seen == [("cpu", False), ("cpu" if fails else "cuda", True)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "on GPUs" in summary(lambda architecture: 4)
    assert seen[-1] == ("cpu", True)


def test_what_is_called_apart_leaves_nothing_here(digits: Dataset, tmp_path: Path) -> None:
    assert apart(os.getpid, 60.0) not in (os.getpid(), None)
    assert apart(partial(int, "no number"), 60.0) is None
    assert apart(partial(os._exit, 0), 60.0) is None
    assert apart(partial(time.sleep, 60.0), 0.2) is None
    plan = small_plan(digits)
    found = apart(
        partial(launch_cost.estimate_there, partial(cost_of, plan.specs, plan.siblings), str(tmp_path), None, "cpu"),
        60.0,
    )
    assert found is not None
    assert found.models == len(plan.models)
    assert found.seconds > 0
