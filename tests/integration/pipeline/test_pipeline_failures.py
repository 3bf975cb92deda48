"""What is missing in an evaluation is said: broken models, torn artifacts, too few to decide."""

import io
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from finished_evaluation import Finished, no_training, refusing, verdicts
from system import context_on, run_here, tiny, tiny_plan

from uapfp_dist.central.evaluate import is_final
from uapfp_dist.central.evaluator import Evaluator
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.reporting.report_schema import CalibrationSizes, ModelCounts
from uapfp_dist.reporting.summary import summary
from uapfp_dist.serialization import to_json
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.description import describe
from uapfp_dist.tasks.executor import attempt_task
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.outcomes import Done, Failed
from uapfp_dist.tasks.specs import Gate, ModelSpec, ProbeSpec
from uapfp_dist.tracking.publication import KIND, Publication
from uapfp_dist.tracking.tracker import NullTracker

pytestmark = pytest.mark.usefixtures("blank_figures")


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
