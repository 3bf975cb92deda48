"""The store is the queue: what MLflow misses while it is away is there in the end, once."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from publications import PUBLICATION
from system import context_on, run_here, tiny, tiny_plan
from tracking_server import Server, serving, shown

from uapfp_dist.central.evaluate import is_final
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.launch.evaluation import _finished, run
from uapfp_dist.reporting.answer import answer
from uapfp_dist.reporting.report_schema import SpecFailure, read_report
from uapfp_dist.serialization import to_json
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.pool import SerialPool
from uapfp_dist.tasks.specs import ModelSpec
from uapfp_dist.tracking.mlflow_tracker import MlflowTracker
from uapfp_dist.tracking.publication import KIND, VERSION, Publication, publish
from uapfp_dist.tracking.tracker import NullTracker


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests of this file; a test that kills it starts it again."""
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


# --- against a real server


def test_nothing_is_there_twice(server: Server) -> None:
    """Published three times, by three processes as it were."""
    evaluation = "twice"
    publication = replace(PUBLICATION, evaluation=evaluation)
    seen = []
    for _ in range(3):
        publish(publication, MlflowTracker(server.uri, None), 0.0)
        seen.append(shown(server.uri, evaluation))
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0]["suspects"]) == 4
    assert seen[0]["curve"] == [(1, 1 / 7), (2, 2 / 7), (3, 3 / 7)]
    assert seen[0]["parent"]["metrics"]["auc/uap"] == 0.1 + 0.2
    assert ("tables/zoo.json", 0) in seen[0]["files"]
    note = seen[0]["parent"]["tags"]["mlflow.note.content"]
    assert note == "**Yes.** ![f](get-artifact?path=figures/f.png&run_uuid=RUN)"
    assert MlflowTracker(server.uri, None).find_run(evaluation, publication.digest)
    assert not MlflowTracker(server.uri, None).find_run(evaluation, PUBLICATION.digest), "another publication"


METHODS = ("start_run", "log_metrics", "log_model", "log_suspect", "log_files", "end_run")


@pytest.mark.parametrize("dies_at", [1, 2, 4, 5, 7, 9, 10])
def test_a_run_that_is_half_there_is_completed(dies_at: int, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies before its n-th call; another one finishes."""
    evaluation = f"half{dies_at}"
    publication = replace(PUBLICATION, evaluation=evaluation)
    calls = 0

    class PowerCut(BaseException):
        """Nothing catches it."""

    def dying(method: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == dies_at:
            raise PowerCut
        return method(*arguments)

    first = MlflowTracker(server.uri, None)
    for name in METHODS:
        monkeypatch.setattr(first, name, partial(dying, getattr(first, name)))
    with pytest.raises(PowerCut):
        publish(publication, first, 0.0)
    publish(publication, MlflowTracker(server.uri, None), 0.0)
    publish(replace(publication, evaluation=evaluation + "whole"), MlflowTracker(server.uri, None), 0.0)
    half, whole = shown(server.uri, evaluation), shown(server.uri, evaluation + "whole")
    for found in (half, whole):
        del found["parent"]["tags"]["evaluation"]
    assert half == whole
    assert half["parent"]["status"] == "FINISHED"


# --- a whole evaluation


@dataclass(frozen=True)
class Undisturbed:
    """An evaluation that was published to a database of its own."""

    plan: Plan
    store: Path
    seen: dict[str, Any]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Trained once for all tests."""
    folder, plan = tmp_path_factory.mktemp("undisturbed"), tiny_plan()
    tracker = MlflowTracker(f"sqlite:///{folder}/mlflow.db", (folder / "files").as_uri())
    run_here(plan, Store(str(folder / "s")), tracker=tracker)
    return Undisturbed(plan, folder / "s", shown(tracker.uri, plan.id))


def half_done(of: Undisturbed, to: Path) -> Store:
    """Models 1 to 9, and all draws: what is left is quickly made."""
    for kind in ("model", "draw"):
        shutil.copytree(of.store / kind, to / kind)
    store = Store(str(to))
    models = [spec for spec in of.plan.specs if isinstance(spec, ModelSpec)]
    for spec in models[9:]:
        store.discard("model", spec.id)
    return store


@pytest.mark.slow
def test_a_server_killed_in_mid_run(undisturbed: Undisturbed, server: Server, tmp_path: Path) -> None:
    """It is away while the last models are trained and comes back before the end: nobody can tell afterwards."""
    store = half_done(undisturbed, tmp_path / "s")
    context, made = context_on(store), 0

    def strike(spec: Spec) -> None:
        nonlocal made
        made += 1
        if made == 2:
            server.kill()
        if made == 8:
            server.start()
        perform_task(context, spec)

    run_here(undisturbed.plan, store, SerialPool(strike), tracker=MlflowTracker(server.uri, None))
    assert made > 8
    assert shown(server.uri, undisturbed.plan.id) == undisturbed.seen
    ours, theirs = (
        Publication.from_artifact(s.get(KIND, undisturbed.plan.id)).files
        for s in (store, Store(str(undisturbed.store)))
    )
    assert all(data == ours[name] for name, data in theirs.items() if name.endswith(".csv")), "order included"


@pytest.mark.slow
def test_what_one_filters_by(undisturbed: Undisturbed) -> None:
    """Lineage of every suspect, costs and queries."""
    suspects = [said["tags"] for said in undisturbed.seen["suspects"]]
    victim = undisturbed.plan.members[0].spec.id
    stolen = [tags for tags in suspects if tags["role"] == "piracy"]
    assert len(suspects) == 11
    assert all(tags["victim"] == victim and tags["attack"] and tags["labels"] == "hard" for tags in stolen)
    assert all({"model", "origin", "architecture", "optimizer", "seed", "part"} <= tags.keys() for tags in suspects)
    assert {tags["origin"] for tags in suspects if tags["role"] == "homologous"} == {"trained:homologous_set"}
    assert all(
        said["metrics"]["queries_to_victim"] > 0 for said in undisturbed.seen["suspects"] if "victim" in said["tags"]
    )
    assert undisturbed.seen["parent"]["tags"]["victim"] == victim
    assert undisturbed.seen["parent"]["metrics"]["queries/to_victims"] > 0
    published = Publication.from_artifact(Store(str(undisturbed.store)).get(KIND, undisturbed.plan.id))
    metrics, numbers = published.metrics, json.loads(published.files["numbers.json"])
    assert numbers == published.numbers
    seconds = [numbers[f"cpu_seconds/{stage}"] for stage in ("zoo", "probe", "answers", "judge")]
    assert all(value > 0 for value in seconds)
    assert metrics["cpu_seconds"] == pytest.approx(sum(seconds))


@pytest.mark.slow
def test_the_page_begins_with_the_answer(undisturbed: Undisturbed) -> None:
    """As its files do; few metrics, and every number beside them."""
    store, parent = Store(str(undisturbed.store)), undisturbed.seen["parent"]
    report = read_report(store.get("report", undisturbed.plan.id).info)
    published = Publication.from_artifact(store.get(KIND, undisturbed.plan.id))
    assert parent["tags"]["mlflow.note.content"].startswith(answer(report).markdown())
    assert parent["tags"]["answer"] in answer(report).sentences[0]
    assert answer(report).markdown().encode() in published.files["summary.md"]
    assert len(published.metrics) + 3 <= 30 < len(published.numbers)
    assert parent["metrics"].keys() <= {*published.metrics, "zoo/accuracy"}
    assert "figures/answer.png" in published.files
    (*_, last) = json.loads(published.files["progress.json"])
    assert last["zoo_done"] + last["zoo_reused"] == last["zoo_total"]


class Refusing(NullTracker):
    """A server that wants a password."""

    def find_run(self, evaluation: str, publication: str) -> str | None:
        raise UserError("mlflow: expected a tracking server at http://m, could not use it (401)")


@pytest.mark.slow
def test_a_server_that_refuses_keeps_no_report_back(
    undisturbed: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The evaluation is finished, and its report asked for as a file."""
    shutil.copytree(undisturbed.store, tmp_path / "s")
    monkeypatch.setattr("uapfp_dist.launch.evaluation.open_tracker", lambda paths: Refusing())
    around = RuntimeConfig(storage=str(tmp_path / "s"), report=tmp_path / "report.json", workers=0)
    body = run(tiny(), "digits", 0, around)
    assert body.evaluation == undisturbed.plan.id
    assert json.loads((tmp_path / "report.json").read_text())["models"]["trained"] == 0
    assert "could not use it (401); the report is in the store" in capsys.readouterr().err


# --- what failed


def failures(*errors: str) -> list[SpecFailure]:
    """Of a report by earlier code, with these messages."""
    fields = {"id": "a", "kind": "model", "description": "a model", "details": ""}
    return [SpecFailure(**fields, error=error, skipped=error.startswith("needs")) for error in errors]


def test_a_report_is_final_when_no_further_try_could_help() -> None:
    gate, lost = "GateError: accuracy 0.1 in 3 attempts (models.py:1)", "needs model a, which failed"
    assert is_final(failures())
    assert is_final(failures(gate, lost, "NotReachedError: recovery 0.9 was never reached (models.py:2)"))
    assert not is_final(failures(gate, "worker died: unknown (3 times)", lost))
    assert not is_final(failures("OSError: no answer (store.py:1)"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cause", "reused"), [("GateError: accuracy 0.1 in 3 attempts", True), ("worker died (3 times)", False)]
)
def test_a_failed_model_does_not_keep_the_report_from_being_used(
    cause: str, reused: bool, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """Where no further try can make it; what a further try may make is tried again."""
    plan, store = undisturbed.plan, Store(str(shutil.copytree(undisturbed.store, tmp_path / "s")))
    report = _finished(plan, store)
    assert report is not None
    assert to_json(report) == store.get("report", plan.id).info
    kept = store.get(KIND, plan.id)
    store.put(KIND, plan.id, kept.tensors, {**kept.info, "version": VERSION - 1})
    assert _finished(plan, store) is None, "its page is one of earlier code"
    store.put(KIND, plan.id, kept.tensors, kept.info)
    broken = plan.members[5]
    responses = plan.response(broken)
    model, skipped = failures(cause, "needs model, which failed")
    failed = (replace(model, id=broken.spec.id), replace(skipped, id=responses.id, kind="answers"))
    store.put("report", plan.id, {}, to_json(replace(report, failures=failed)))
    for kind, key in (("model", broken.spec.id), ("answers", responses.id)):
        store.discard(kind, key)
    assert (_finished(plan, store) is not None) == reused
    store.discard("answers", plan.response(plan.members[6]).id)
    assert _finished(plan, store) is None, "the report does not say that this one cannot be made"
