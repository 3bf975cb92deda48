"""The MLflow tracker: idempotent, and its errors say whether a retry may help."""

import http.server
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from system import NO_DATABASE, free_ports

from uapfp_dist.errors import UserError
from uapfp_dist.tracking.mlflow_tracker import MlflowTracker

DENIED = b'{"error_code": "PERMISSION_DENIED", "message": "not you"}'


@pytest.fixture(autouse=True)
def few_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreachable server is noticed at once."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests: creating it takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def tracker(uri: str, tmp_path: Path) -> MlflowTracker:
    """Without a run."""
    return MlflowTracker(uri, (tmp_path / "files").as_uri())


def runs(uri: str, **tags: str) -> list[Any]:
    """Runs with all of `tags`."""
    client = MlflowClient(uri)
    found = client.get_experiment_by_name("uapfp_dist")
    assert found is not None
    every = client.search_runs([found.experiment_id], max_results=1000)
    return [run for run in every if all(run.data.tags.get(key) == value for key, value in tags.items())]


@contextmanager
def responding(code: int, body: bytes) -> Iterator[str]:
    """A web server that always gives the same response."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


# --- idempotent


def test_an_interrupted_evaluation_resumes_its_run(uri: str) -> None:
    for status in ("KILLED", "FAILED", "FINISHED"):
        tracker = MlflowTracker(uri, None)
        tracker.start_run("again", {"seed": 1, "zoo": {"width": 4}}, {"preset": "p"})
        assert [run.info.status for run in runs(uri, evaluation="again")] == ["RUNNING"]
        tracker.end_run(status)
    (run,) = runs(uri, evaluation="again")
    assert run.info.status == "FINISHED"
    assert run.data.params == {"seed": "1", "zoo.width": "4"}
    assert run.info.run_name == "p-seed1"


def test_other_parameters_are_another_run(uri: str) -> None:
    """MLflow's parameters are immutable, and a run must not show two configurations."""
    for width in (4, 8, 4):
        tracker = MlflowTracker(uri, None)
        tracker.start_run("widths", {"width": width}, {})
        tracker.end_run("FINISHED")
    assert sorted(run.data.params["width"] for run in runs(uri, evaluation="widths")) == ["4", "8"]


def test_points_of_a_curve_are_logged_once(uri: str, tracker: MlflowTracker) -> None:
    """In any order, also when another process logs them again; new ones are added."""
    tracker.start_run("curve", {}, {})
    for number in (3, 1, 3):
        tracker.log_model(number / 10, number)
    tracker.end_run("KILLED")
    other = MlflowTracker(uri, None)
    other.start_run("curve", {}, {})
    for number in (1, 2, 3):
        other.log_model(number / 10, number)
    other.end_run("FINISHED")
    (run,) = runs(uri, evaluation="curve")
    points = MlflowClient(uri).get_metric_history(run.info.run_id, "zoo/accuracy")
    assert sorted((point.step, point.value) for point in points) == [(1, 0.1), (2, 0.2), (3, 0.3)]


def test_a_changed_metric_is_shown(uri: str, tracker: MlflowTracker) -> None:
    """A model that had failed is there now: the run shows the new value, its history both."""
    tracker.start_run("changed", {}, {})
    for value in (0.7, 0.7, 0.9):
        tracker.log_metrics({"auc": value})
        tracker.log_suspect(
            "piracy", {"model": "m", "claim": "piracy" if value > 0.8 else "inconclusive"}, {"p": value}
        )
    tracker.end_run("FINISHED")
    (run,) = runs(uri, evaluation="changed")
    assert run.data.metrics["auc"] == 0.9
    assert [p.value for p in MlflowClient(uri).get_metric_history(run.info.run_id, "auc")] == [0.7, 0.9]
    (nested,) = runs(uri, **{"mlflow.parentRunId": run.info.run_id})
    assert nested.data.tags["claim"] == "piracy"


def test_duplicates_are_removed(uri: str, tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server handled a request whose response was lost, and the client repeated it."""
    create = MlflowClient.create_run

    def create_twice(self: MlflowClient, *arguments: Any, **named: Any) -> Any:
        create(self, *arguments, **named)
        return create(self, *arguments, **named)

    monkeypatch.setattr(MlflowClient, "create_run", create_twice)
    tracker.start_run("duplicates", {"seed": 0}, {})
    for name in ("a", "b"):
        tracker.log_suspect(name, {"model": name}, {"p": 0.5})
    tracker.end_run("FINISHED")
    (run,) = runs(uri, evaluation="duplicates")
    nested = runs(uri, **{"mlflow.parentRunId": run.info.run_id})
    assert sorted(child.data.tags["model"] for child in nested) == ["a", "b"]
    assert all(child.data.metrics == {"p": 0.5} and child.info.status == "FINISHED" for child in nested)


def test_tables_are_shown_and_not_extended(
    uri: str, tracker: MlflowTracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As MLflow reads the tables of its page."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)  # for load_table
    tracker.start_run("tables", {}, {})
    for _ in range(2):
        folder = tmp_path / "report" / "tables"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "zoo.csv").write_text("model,accuracy\na,0.5\nb,0.25\n")
        (folder / "nobody.csv").write_text("model\n")
        tracker.log_files(folder.parent)
    tracker.end_run("FINISHED")
    (run,) = runs(uri, evaluation="tables")
    frame = MlflowClient(uri).load_table(run.info.experiment_id, "tables/zoo.json", [run.info.run_id])
    assert frame.to_dict("list") == {"model": ["a", "b"], "accuracy": [0.5, 0.25]}


def test_more_values_than_one_request_takes(uri: str, tracker: MlflowTracker) -> None:
    params, metrics = {f"p{i}": i for i in range(250)}, {f"m{i}": float(i) for i in range(1100)}
    tracker.start_run("many", params, {})
    tracker.log_metrics(metrics)
    tracker.end_run("FINISHED")
    (run,) = runs(uri, evaluation="many")
    assert len(run.data.params) == 250
    assert run.data.metrics == metrics


# --- transient and permanent errors


@pytest.mark.parametrize(("code", "body"), [(503, b"busy"), (502, b"<html>"), (500, b"{}"), (429, b"slow down")])
def test_server_errors_are_transient(code: int, body: bytes) -> None:
    with (
        responding(code, body) as address,
        pytest.raises(ConnectionError, match=f"{address} does not respond") as caught,
    ):
        MlflowTracker(address, None).start_run("e", {}, {})
    assert "\n" not in str(caught.value)


def test_a_missing_server_is_transient() -> None:
    address = f"http://127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(ConnectionError, match="does not respond"):
        MlflowTracker(address, None).start_run("e", {}, {})


@pytest.mark.parametrize(("code", "body"), [(404, b"no such page"), (401, b"who are you"), (403, DENIED)])
def test_a_refusal_is_a_user_error(code: int, body: bytes) -> None:
    with responding(code, body) as address, pytest.raises(UserError, match="check the URI") as caught:
        MlflowTracker(address, None).start_run("e", {}, {})
    assert address in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("uri", ["nosuch://somewhere", "sqlite:///{tmp}/torn.db", "sqlite:///{tmp}/none/mlflow.db"])
def test_a_uri_without_a_tracker_is_a_user_error(uri: str, tmp_path: Path) -> None:
    (tmp_path / "torn.db").write_text(NO_DATABASE)
    (tmp_path / "none").write_text("a file where a folder should be")
    with pytest.raises(UserError, match="check the URI"):
        MlflowTracker(uri.format(tmp=tmp_path), None).start_run("e", {}, {})
