"""What MLflow finds in the environment, or in its database: the right behaviour, or an error that names its cause."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from first_start import JOBS, Round, start_together
from mlflow import MlflowClient
from system import Lab, environment, free_ports
from tracking_server import Server, serving

from uapfp_dist.config.runtime import RuntimeConfig, check_runtime, resolve
from uapfp_dist.errors import UserError
from uapfp_dist.launch.tracker import open_tracker
from uapfp_dist.tracking.mlflow_tracker import MlflowTracker


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of whoever runs the tests; an absent server is noticed soon."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests of this file."""
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def database(lab: Lab, tmp_path: Path) -> Path:
    """With MLflow's tables; its path has a space, a comma and a dollar."""
    path = tmp_path / "mine, $HOME" / "mlflow.db"
    path.parent.mkdir()
    path.write_bytes(lab.database.read_bytes())
    return path


def start(runtime: RuntimeConfig) -> str:
    """A run of the tracker that a job would have; its id."""
    tracker = open_tracker(resolve(runtime))
    tracker.start_run("e", {"seed": 0}, {})
    return tracker.end_run("FINISHED")


def check_deleted(uri: str) -> None:
    """An experiment that was deleted: another name works, and so does the command that the line says."""
    MlflowTracker(uri, None).start_run("e", {}, {})
    client = MlflowClient(uri)
    found = client.get_experiment_by_name("uapfp_dist")
    client.delete_experiment(found.experiment_id)
    with pytest.raises(UserError, match=r"experiment uapfp_dist .*, it was deleted there; restore it with") as caught:
        start(RuntimeConfig(mlflow_uri=uri))
    assert caught.value.argument == "mlflow_experiment"
    other = start(RuntimeConfig(mlflow_uri=uri, mlflow_experiment="another"))
    assert client.get_experiment(client.get_run(other).info.experiment_id).name == "another"
    command = str(caught.value).split("`")[1]
    assert f"restore --experiment-id {found.experiment_id}" in command
    subprocess.run(command, shell=True, check=True, timeout=60, env=environment(), capture_output=True)
    assert start(RuntimeConfig(mlflow_uri=uri))


def test_a_deleted_experiment(database: Path) -> None:
    check_deleted(f"sqlite:///{database}")


@pytest.mark.slow
def test_a_deleted_experiment_of_a_server(server: Server) -> None:
    check_deleted(server.uri)


@pytest.mark.slow
def test_three_jobs_start_at_once_on_a_new_server(server: Server, tmp_path: Path) -> None:
    """The experiment is made once."""
    client = MlflowClient(server.uri)
    for old in client.search_experiments(filter_string="name = 'uapfp_dist'"):
        client.rename_experiment(old.experiment_id, "old")
    ((*said,),) = start_together([Round(tmp_path, uri=server.uri)])
    assert said == ["ok"] * JOBS
    (experiment,) = client.search_experiments(filter_string="name = 'uapfp_dist'")
    assert len(client.search_runs([experiment.experiment_id])) == 2 * JOBS


def test_an_experiment_deleted_over_the_work(database: Path) -> None:
    """It is found out when the result is published."""
    tracker = MlflowTracker(f"sqlite:///{database}", None)
    tracker.start_run("e", {}, {})
    client = MlflowClient(tracker.uri)
    client.delete_experiment(client.get_experiment_by_name("uapfp_dist").experiment_id)
    with pytest.raises(UserError, match="restore it with"):
        tracker.start_run("e", {}, {})


def test_an_experiment_without_a_name() -> None:
    with pytest.raises(UserError, match="mlflow_experiment: expected a name"):
        check_runtime(RuntimeConfig(mlflow_experiment=" "))


def test_runs_go_where_they_are_told(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that MLflow reads for runs of other programs change nothing."""
    for name in ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"):
        monkeypatch.setenv(name, "0")
    run = start(RuntimeConfig(storage=str(database.parent)))
    client = MlflowClient(f"sqlite:///{database}")
    assert client.get_experiment(client.get_run(run).info.experiment_id).name == "uapfp_dist"


@pytest.mark.parametrize("uri", ["nosuch://somewhere", "http://127.0.0.1:{port}", "sqlite:///{tmp}/file/mlflow.db"])
def test_a_tracking_uri_left_over(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    uri = uri.format(port=free_ports(1)[0], tmp=tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises((UserError, ConnectionError)) as caught:
        start(RuntimeConfig(storage=str(tmp_path / "s")))
    assert f"{uri} (from MLFLOW_TRACKING_URI)" in str(caught.value)
    assert isinstance(caught.value, ConnectionError) or "unset MLFLOW_TRACKING_URI" in str(caught.value)
    with pytest.raises((UserError, ConnectionError)) as caught:
        start(RuntimeConfig(storage=str(tmp_path / "s"), mlflow_uri=uri))
    assert "MLFLOW_TRACKING_URI" not in str(caught.value)
