"""A tiny zoo that has answered, once for all grids, and runs without MLflow."""

from functools import partial

import pytest
from system import context_on, tiny_plan
from tiny_grids import Listener, SuspectAnswers

from uapfp_dist.execution.steps import perform_task
from uapfp_dist.launch import ablation as ablations
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.pool import SerialPool
from uapfp_dist.tasks.scheduler import run_tasks


@pytest.fixture(scope="session")
def answered(tmp_path_factory: pytest.TempPathFactory) -> SuspectAnswers:
    """Models, probe and answers; nothing judged."""
    folder = tmp_path_factory.mktemp("answered") / "store"
    store = Store(str(folder))
    for outcome_ in run_tasks(
        tiny_plan().specs, SerialPool(partial(perform_task, context_on(store))), lambda spec: False
    ):
        assert not hasattr(outcome_, "error"), outcome_
    return SuspectAnswers(folder)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> list[Listener]:
    """No MLflow: the trackers that were made."""
    made: list[Listener] = []

    def listener(places: object) -> Listener:
        made.append(Listener())
        return made[-1]

    monkeypatch.setattr(ablations, "open_tracker", listener)
    return made
