"""The whole evaluation, small: the same verdicts however it is run, which says what is missing."""

import io
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from system import ROOT, context_on, copy_store, environment, run_here, tiny, tiny_plan

from uapfp_dist.central.evaluate import is_final
from uapfp_dist.central.evaluator import Evaluator
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.fingerprints.methods.registry import PROBE_METHODS
from uapfp_dist.reporting.answer import answer
from uapfp_dist.reporting.report import Report
from uapfp_dist.reporting.report_schema import CalibrationSizes, ModelCounts
from uapfp_dist.reporting.summary import summary
from uapfp_dist.serialization import to_json
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.description import describe
from uapfp_dist.tasks.executor import attempt_task
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.outcomes import Done, Failed, Outcome
from uapfp_dist.tasks.pool import SerialPool
from uapfp_dist.tasks.specs import Gate, ModelSpec, ProbeSpec, ResponseSpec
from uapfp_dist.tracking.publication import KIND, Publication
from uapfp_dist.tracking.tracker import NullTracker

pytestmark = pytest.mark.usefixtures("blank_figures")


@dataclass(frozen=True)
class Finished:
    """A tiny evaluation that was run once for all tests; copy its folder before changing it."""

    plan: Plan
    folder: Path
    report: Report

    def copy(self, to: Path, *kinds: str) -> Store:
        """A store with its artifacts of `kinds`, or with all."""
        return copy_store(self.folder, to, *kinds)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Everything trained from nothing, one thread."""
    folder = tmp_path_factory.mktemp("finished") / "store"
    plan = tiny_plan()
    return Finished(plan, folder, run_here(plan, Store(str(folder))))


def verdicts(report: Report) -> list[dict[str, Any]]:
    """To be compared exactly: floats to the last bit."""
    found: list[dict[str, Any]] = to_json(report.body)["verdicts"]
    return found


def refusing(store: Store, why: Callable[[Spec], str | None]) -> SerialPool:
    """A pool in which some specs raise."""
    context = context_on(store)

    def struck_or_done(spec: Spec) -> None:
        cause = why(spec)
        if cause:
            raise RuntimeError(cause)
        perform_task(context, spec)

    return SerialPool(struck_or_done)


def no_training(store: Store) -> SerialPool:
    """A pool in which training a model or making a probe is an error."""
    return refusing(store, lambda s: None if isinstance(s, ResponseSpec) else "should have been in the store")


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


# --- what comes out


def test_the_report_has_what_others_read(finished: Finished) -> None:
    body = to_json(finished.report.body)
    keys = {"seed", "stage_seconds", "models", "victim", "uap", "auc", "false_accusation", "power"}
    keys |= {"unique_queries_per_suspect", "verdicts"}
    assert keys <= set(body)
    assert set(body["auc"]) == set(PROBE_METHODS)
    for formats in body["auc"].values():
        assert "chosen" in formats
        for groups in formats.values():
            assert set(groups) == {"homologous", "other_victim", "same_data"}
            assert all(area is None or 0.0 <= area <= 1.0 for area in groups.values())
    assert set(body["auc"]["uap"]) == {"prob", "hard", "chosen"}
    assert body["models"] == {"trained": 14, "reused": 0, "failed": 0}
    assert set(body["stage_seconds"]) >= {"zoo", "probe", "answers", "judging"}
    assert body["failures"] == []


def test_every_test_model_gets_a_verdict(finished: Finished) -> None:
    """Draw 0 tests 1 piracy, 1 homologous, 1 same data, 1 soft and one other victim's piracy, each once."""
    found = verdicts(finished.report)
    roles = sorted(v["role"] for v in found)
    assert roles == ["homologous", "other_victim_piracy", "piracy", "same_data", "soft_piracy"]
    assert len({v["model"] for v in found}) == len(found)
    for v in found:
        assert {"model", "role", "similarity", "p_value", "claim"} <= set(v)
        assert 0.0 <= v["similarity"] <= 1.0 + 1e-6
        assert 0.0 < v["p_value"] <= 1.0
        assert v["claim"] == ("piracy" if v["p_value"] <= 0.5 else "inconclusive")


def test_the_report_is_json_without_nan(finished: Finished) -> None:
    json.dumps(to_json(finished.report.body), allow_nan=False)


def test_the_summary_names_the_methods_of_the_answer(finished: Finished) -> None:
    """Eight of all, and the same answer in Markdown."""
    found = answer(finished.report.body)
    assert len(PROBE_METHODS) > len(found.methods) == 8
    assert all(row.method in summary(finished.report.body) for row in found.methods)
    assert all(row.method in found.markdown() for row in found.methods)


def test_what_the_tracker_receives(finished: Finished, tmp_path: Path) -> None:
    """One card per model that was there, one entry per suspect, tables and figures, and an end."""
    received: dict[str, list[Any]] = {"models": [], "suspects": [], "files": [], "end": []}

    class Listener(NullTracker):
        def log_model(self, accuracy: float, number: int | None = None) -> None:
            received["models"].append(number)

        def log_suspect(self, name: str, tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
            received["suspects"].append((name, tags, metrics))

        def log_files(self, folder: Path) -> None:
            received["files"] += [str(file.relative_to(folder)) for file in folder.rglob("*.*")]

    store = finished.copy(tmp_path / "s")
    run_here(finished.plan, store, no_training(store), tracker=Listener())
    assert set(received["models"]) == set(range(1, 15)), "as they come, and again with the whole"
    assert len(received["suspects"]) == 11, "all but the victim and the two other victims"
    assert {tags["part"] for _, tags, _ in received["suspects"]} == {"training", "calibration", "test"}
    assert all(metrics["accuracy"] > 0 for _, _, metrics in received["suspects"])
    assert "report.json" in received["files"]
    assert any(name.endswith(".csv") for name in received["files"])
    assert any(name.endswith(".png") for name in received["files"])


# --- the same, however it is run


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


# --- what is missing


def test_one_broken_model_costs_one_model(finished: Finished, tmp_path: Path) -> None:
    store = finished.copy(tmp_path / "s", "model", "probe", "answers")
    broken = next(m for m in finished.plan.members if m.role == "same_data")
    store.discard("model", broken.spec.id)
    store.discard("answers", finished.plan.response(broken).id)
    report = run_here(finished.plan, store, refusing(store, lambda s: "struck" if s.id == broken.spec.id else None))
    assert report.body.models == ModelCounts(trained=0, reused=13, failed=1)
    failures = {f.kind: f for f in report.body.failures}
    assert len(report.body.failures) == 2
    assert failures["model"].id == broken.spec.id
    assert "RuntimeError: struck" in failures["model"].error
    assert not failures["model"].skipped
    assert failures["answers"].skipped
    assert broken.spec.id in failures["answers"].error
    assert broken.spec.id not in {v["model"] for v in verdicts(report)}
    assert len(verdicts(report)) == len(verdicts(finished.report)) - 1
    # same_data has no model left: null, not NaN
    assert json.loads(json.dumps(to_json(report.body), allow_nan=False))["auc"]["uap"]["chosen"]["same_data"] is None


def test_a_failure_is_reported_with_its_description_and_traceback(finished: Finished, tmp_path: Path) -> None:
    """In the report, and as a table of MLflow's; where nothing failed that is empty but for its head."""
    store = finished.copy(tmp_path / "s", "model", "probe", "answers", "draw")
    broken = next(m for m in finished.plan.members if m.role == "same_data")
    store.discard("model", broken.spec.id)
    store.discard("answers", finished.plan.response(broken).id)
    report = run_here(finished.plan, store, refusing(store, lambda s: "struck" if s.id == broken.spec.id else None))
    failure, skipped = report.body.failures
    assert failure.description == describe(broken.spec)
    assert failure.details.splitlines()[-1] == "RuntimeError: struck"
    assert skipped.description == f"responses of {describe(broken.spec)}"
    table = pd.read_csv(io.BytesIO(published(store, finished.plan)), keep_default_na=False)
    assert table.to_dict("records") == to_json(report.body)["failures"]
    whole = Store(str(finished.folder))
    assert published(whole, finished.plan).decode().splitlines() == ["id,kind,words,error,details,lost,permanent"]


def published(store: Store, plan: Plan) -> bytes:
    """The table of failures that the tracker gets."""
    return Publication.from_artifact(store.get(KIND, plan.id)).files["tables/failures.csv"]


@pytest.mark.parametrize("kind", ["probe", "answers", "model"])
@pytest.mark.parametrize("torn", [True, False])
def test_what_is_torn_or_gone_at_judging_is_told_in_one_line(
    kind: str, torn: bool, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was there when the last outcome came in."""
    store, plan = finished.copy(tmp_path / "s", "model", "probe", "answers"), finished.plan
    keys = {"probe": plan.probe.id, "answers": plan.response(plan.judged[1]).id, "model": plan.judged[1].spec.id}
    path = Path(store.path(kind, keys[kind]))
    if torn:
        path.write_bytes(path.read_bytes()[:100])
    else:
        monkeypatch.setattr(store, "has_among", set)
        path.unlink()
    with pytest.raises(UserError, match="torn or gone") as error:
        Evaluator(plan, store, NullTracker(), 1).matrix()
    assert "\n" not in str(error.value)


def test_a_broken_other_victim_costs_the_models_stolen_from_it(finished: Finished, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "s"))
    plan = finished.plan
    other = next(m.spec for m in plan.members if m.role == "other_victim")
    stolen = [m for m in plan.members if m.stolen_from == other.id]
    report = run_here(plan, store, refusing(store, lambda s: "struck" if s.id == other.id else None))
    lost = {f.id for f in report.body.failures if f.skipped}
    assert lost == {m.spec.id for m in stolen} | {plan.response(m).id for m in stolen}
    assert report.body.models == ModelCounts(trained=12, reused=0, failed=2)


@pytest.mark.parametrize("kind", [ModelSpec, ProbeSpec])
def test_without_victim_or_probe_there_is_no_report(kind: type[Spec], finished: Finished, tmp_path: Path) -> None:
    """The one cause is reported, not the hundreds of losses that follow."""
    store = Store(str(tmp_path / "s"))
    spec = finished.plan.members[0].spec if kind is ModelSpec else finished.plan.probe
    if kind is ProbeSpec:
        store = finished.copy(tmp_path / "s", "model")
    with pytest.raises(UserError, match="struck"):
        run_here(finished.plan, store, refusing(store, lambda s: "struck" if s.id == spec.id else None))
    assert not list(Path(store.root).glob("answers/*")), "nothing more is done once nothing can be judged"


def test_a_net_that_answers_nan_is_named(finished: Finished, tmp_path: Path) -> None:
    """Read as a response it would be a similarity of 0: the net is ruined, not a negative."""
    store = finished.copy(tmp_path / "s", "model", "probe", "answers")
    ruined = next(m for m in finished.plan.members if m.role == "same_data")
    artifact = store.get("model", ruined.spec.id)
    broken = {name: t * float("nan") if t.is_floating_point() else t for name, t in artifact.tensors.items()}
    store.put("model", ruined.spec.id, broken, artifact.info)
    store.discard("answers", finished.plan.response(ruined).id)
    (failure,) = run_here(finished.plan, store).body.failures
    assert "NotFiniteError: answers: expected numbers, got NaN or infinity for" in failure.error
    assert failure.permanent
    assert is_final([failure])


def breaking(error: Exception) -> bool:
    """Whether a spec that raised `error` has broken its worker."""

    def perform(spec: Spec) -> None:
        raise error

    outcome = attempt_task(tiny_plan().probe, perform, "here")
    assert isinstance(outcome, Failed)
    return outcome.worker_broken


def test_errors_after_which_a_worker_is_of_no_more_use() -> None:
    """CUDA's stay with a process, memory comes back."""
    assert breaking(torch.AcceleratorError("CUDA error: an illegal memory access was encountered"))
    assert breaking(RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"))
    assert not breaking(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert not breaking(ValueError("no good"))


def test_too_few_stolen_models_left(finished: Finished, tmp_path: Path) -> None:
    store = finished.copy(tmp_path / "s", "model", "probe", "answers")
    gone = next(m for m in finished.plan.members if m.role == "piracy")
    store.discard("model", gone.spec.id)
    store.discard("answers", finished.plan.response(gone).id)
    pool = refusing(store, lambda s: "struck" if s.id == gone.spec.id else None)
    with pytest.raises(UserError, match="n_train"):
        run_here(finished.plan, store, pool)


def test_a_model_below_its_gate_fails_after_its_attempts(finished: Finished, tmp_path: Path) -> None:
    """A gate no net can pass: the victim's accuracy plus one."""
    store = finished.copy(tmp_path / "s", "model")
    victim = finished.plan.members[0].spec
    member = next(m.spec for m in finished.plan.members if m.role == "homologous")
    hopeless = replace(member, gate=Gate(victim, margin=-1.0, attempts=3))
    outcome = attempt_task(hopeless, partial(perform_task, context_on(store)), "here")
    assert isinstance(outcome, Failed)
    assert "3 attempts" in outcome.error
    accuracies = outcome.error.split("accuracy ")[1].split(" in ")[0].split(", ")
    assert len(accuracies) == 3
    assert len(set(accuracies)) > 1, "every attempt has a seed of its own"
    assert not store.has("model", hopeless.id)
    passing = replace(hopeless, gate=Gate(victim, margin=1.0, attempts=3))
    assert isinstance(attempt_task(passing, partial(perform_task, context_on(store)), "here"), Done)
    assert store.get("model", passing.id).info["attempt"] == 0


def test_too_few_calibration_models_decide_nothing(finished: Finished, tmp_path: Path) -> None:
    """One negative cannot show that fewer than one in twenty would score as high."""
    store = finished.copy(tmp_path / "s", "model", "probe", "answers")
    report = run_here(tiny_plan(tiny(alpha=0.05)), store, no_training(store))
    assert {v["claim"] for v in verdicts(report)} == {"cannot decide at this alpha"}
    assert report.body.calibration == CalibrationSizes(models=1, other_victim=0, needed=19)
    assert "cannot decide at this alpha" in " ".join(summary(report.body).split())


# --- the core is pure


def test_the_core_imports_neither_ray_nor_mlflow_and_does_nothing(tmp_path: Path) -> None:
    """In a process of its own: every module but those that are imported late."""
    program = """
import importlib, pkgutil, random, sys, threading
import numpy as np, torch
torch.manual_seed(1); np.random.seed(1); random.seed(1)
before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
import uapfp_dist
late = ("cluster", "benchmarks.cluster", "benchmarks.driver", "tracking.mlflow_", "serving.served_model")
for m in pkgutil.walk_packages(uapfp_dist.__path__, "uapfp_dist."):
    if not m.name.removeprefix("uapfp_dist.").startswith(late):
        importlib.import_module(m.name)
print([name for name in ("ray", "mlflow") if name in sys.modules])
after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
print(torch.equal(before[0], after[0]) and before[1:] == after[1:])
print(threading.active_count())
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True)
    assert done.stdout.split("\n")[:3] == ["[]", "True", "1"], done.stderr[-2000:]
    assert not list(tmp_path.iterdir()), "importing writes nothing"
