"""The same verdicts to the bit, however the evaluation is run and whatever was there before."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from finished_evaluation import Finished, refusing, verdicts
from system import context_on, run_here

from uapfp_dist.execution.steps import perform_task
from uapfp_dist.reporting.report_schema import ModelCounts
from uapfp_dist.serialization import to_json
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.executor import attempt_task
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.outcomes import Outcome

pytestmark = pytest.mark.usefixtures("blank_figures")


class Backwards:
    """Takes everything that can be started and performs the last first."""

    size = 1000

    def __init__(self, perform: Callable[[Spec], None]) -> None:
        self._perform = perform
        self._stack: list[Spec] = []
        self.order: list[str] = []

    def submit(self, spec: Spec) -> None:
        self._stack.append(spec)

    def wait(self, timeout: float) -> list[Outcome]:
        spec = self._stack.pop()
        self.order.append(spec.id)
        return [attempt_task(spec, self._perform, "backwards")]

    def close(self) -> None:
        pass


def test_a_second_run_trains_nothing(finished: Finished, tmp_path: Path) -> None:
    store = finished.copy(tmp_path / "s")
    report = run_here(finished.plan, store, refusing(store, lambda spec: "nothing was to be done"))
    assert report.body.models == ModelCounts(trained=0, reused=14, failed=0)
    assert verdicts(report) == verdicts(finished.report)


def test_torn_models_are_made_again_to_the_bit(finished: Finished, tmp_path: Path) -> None:
    """Their answers go too, so that they are asked of the new ones. Fits are dropped, or they would hide a change."""
    store = finished.copy(tmp_path / "s", "model", "probe", "answers")
    members = [next(m for m in finished.plan.members if m.role == role) for role in ("victim", "piracy", "homologous")]
    before = [store.get("model", member.spec.id).tensors for member in members]
    for member in members:
        path = Path(store.path("model", member.spec.id))
        path.write_bytes(path.read_bytes()[:-7])
        store.discard("answers", finished.plan.response(member).id)
    report = run_here(finished.plan, store)
    assert report.body.models == ModelCounts(trained=3, reused=11, failed=0)
    for member, tensors in zip(members, before, strict=True):
        after = store.get("model", member.spec.id).tensors
        assert all(bool((after[name] == tensor).all()) for name, tensor in tensors.items()), member.role
    assert verdicts(report) == verdicts(finished.report)


def test_other_torn_artifacts_are_made_again(finished: Finished, tmp_path: Path) -> None:
    store = finished.copy(tmp_path / "s")
    for kind in ("probe", "answers", "draw"):
        path = sorted((tmp_path / "s" / kind).iterdir())[0]
        path.write_bytes(path.read_bytes()[:100])
    report = run_here(finished.plan, store)
    assert report.body.models is not None
    assert report.body.models.trained == 0
    assert verdicts(report) == verdicts(finished.report)


def test_two_threads_from_a_fresh_store_backwards(finished: Finished, tmp_path: Path) -> None:
    """Neither the order of work, nor the threads of the evaluator, nor what was there before changes a bit."""
    store = Store(str(tmp_path / "s"))
    pool = Backwards(partial(perform_task, context_on(store)))
    report = run_here(finished.plan, store, pool, threads=2)
    planned = [spec.id for spec in finished.plan.specs]
    assert sorted(pool.order) == sorted(planned)
    assert pool.order != planned
    assert verdicts(report) == verdicts(finished.report)
    assert to_json(report.body)["auc_detail"] == to_json(finished.report.body)["auc_detail"]
    reference = Store(str(finished.folder))
    for member in finished.plan.judged:
        key = finished.plan.response(member).id
        ours, theirs = store.get("answers", key).tensors, reference.get("answers", key).tensors
        assert ours.keys() == theirs.keys()
        assert all(bool((ours[name] == theirs[name]).all()) for name in ours)
