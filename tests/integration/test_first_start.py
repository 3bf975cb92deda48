"""Several jobs that start at once on one new storage: none dies of another's start."""

import shutil
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from first_start import JOBS, Round, start_together
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from system import Lab, job

from uapfp_dist.cluster import tune_trials
from uapfp_dist.errors import UserError
from uapfp_dist.launch.report_file import write_report
from uapfp_dist.tracking import mlflow_experiment
from uapfp_dist.tracking.mlflow_tracker import MlflowTracker


def check(each: Round) -> None:
    """One experiment, a finished run of every job with its nested run, every table once, nothing left over."""
    uri = f"sqlite:///{each.storage}/mlflow.db"
    client = MlflowClient(uri)
    assert sorted(found.name for found in client.search_experiments()) == ["Default", "uapfp_dist"]
    experiment = client.get_experiment_by_name("uapfp_dist")
    runs = client.search_runs([experiment.experiment_id])
    assert all(run.info.status == "FINISHED" for run in runs)
    parents = [run for run in runs if "evaluation" in run.data.tags]
    assert sorted(run.data.params["seed"] for run in parents) == [str(seed) for seed in range(JOBS)]
    nested = [run.data.tags["mlflow.parentRunId"] for run in runs if run not in parents]
    assert sorted(nested) == sorted(run.info.run_id for run in parents)
    with closing(sqlite3.connect(each.storage / "mlflow.db")) as database:
        assert len(database.execute("SELECT * FROM alembic_version").fetchall()) == 1
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert not list(each.storage.rglob("*.tmp"))
    assert (each.storage / "store.json").exists()


@pytest.mark.heavy
def test_three_jobs_start_at_once_ten_times(tmp_path: Path) -> None:
    """On a new storage each time; in some its file system has no locks, or a killed job left an empty database."""
    rounds = [Round(tmp_path / str(i), locks=i not in (6, 7)) for i in range(10)]
    for left in rounds[8:]:
        left.storage.mkdir()
        (left.storage / "mlflow.db").touch()
    for each, jobs in zip(rounds, start_together(rounds), strict=True):
        assert all(said.startswith("ok") for said in jobs), jobs
        if each.locks:
            assert sorted(jobs) == ["ok", "ok", "ok made"]
        check(each)


@pytest.fixture
def uri(lab: Lab, tmp_path: Path) -> str:
    """A database with tables and no experiment of ours."""
    shutil.copy(lab.database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


def test_an_experiment_made_meanwhile_is_used(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another job makes it between this one's look and its own attempt, on a database or a server."""
    create = MlflowClient.create_experiment

    def too_late(self: MlflowClient, name: str, *arguments: str | None) -> str:
        create(self, name, *arguments)
        return create(self, name, *arguments)

    monkeypatch.setattr(MlflowClient, "create_experiment", too_late)
    tracker = MlflowTracker(uri, None)
    tracker.start_run("e", {}, {})
    assert tracker.end_run("FINISHED")


@pytest.mark.parametrize(
    "said", ["(sqlite3.OperationalError) table x already exists", "(sqlite3.OperationalError) database is locked"]
)
def test_a_database_in_the_making_is_tried_again(said: str, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program makes the tables, which takes no lock of ours."""
    look, tries = MlflowClient.get_experiment_by_name, 0

    def busy(self: MlflowClient, name: str) -> object:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise MlflowException(said)
        return look(self, name)

    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", busy)
    monkeypatch.setattr(mlflow_experiment, "PAUSE_SECONDS", (0.0, 0.1))
    MlflowTracker(uri, None).start_run("e", {}, {})
    assert tries >= 3


def test_a_half_made_database_is_an_error_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is making the rest: a program was killed over it."""
    monkeypatch.setattr(mlflow_experiment, "STALLED_SECONDS", 1.0)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        database.execute("CREATE TABLE _alembic_tmp_metrics (key VARCHAR(250))")
        database.commit()
    with pytest.raises(UserError, match=r"found some of them \(.*move that database away") as caught:
        MlflowTracker(f"sqlite:///{tmp_path}/mlflow.db", None).start_run("e", {}, {})
    assert "\n" not in str(caught.value)


def test_a_database_that_stays_locked_does_not_stop_a_job(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is away, as a server may be: the work goes on."""
    monkeypatch.setattr(mlflow_experiment, "STALLED_SECONDS", 0.0)

    def locked(self: MlflowClient, name: str) -> object:
        raise MlflowException("(sqlite3.OperationalError) database is locked")

    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", locked)
    with pytest.raises(ConnectionError, match=r"does not respond .*database is locked"):
        MlflowTracker(uri, None).start_run("e", {}, {})


def test_two_jobs_on_one_grid_keep_their_states_apart(tmp_path: Path) -> None:
    """Ray Tune's state is of one driver; the next job resumes that of the first."""
    experiment = str(tmp_path / "tune" / "grid")
    with tune_trials._folder_of_its_own(experiment) as first, tune_trials._folder_of_its_own(experiment) as second:
        assert first == experiment
        assert second != experiment
        Path(second).mkdir()
    assert not Path(second).exists()
    with tune_trials._folder_of_its_own(experiment) as later:
        assert later == experiment


def test_two_jobs_write_one_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second ends its own while the first is about to rename."""
    path, replace, calls = tmp_path / "report.json", Path.replace, 0

    def slow(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == 1:
            write_report(path, {"by": "second"})
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", slow)
    write_report(path, {"by": "first"})
    assert path.read_text() == '{\n "by": "first"\n}'
    assert [found.name for found in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.heavy
@pytest.mark.timeout(900)
@pytest.mark.parametrize("again", range(3))
def test_three_seeds_at_once(again: int, lab: Lab, tmp_path: Path) -> None:
    """Whole jobs, each on a Ray of its own."""
    storage = tmp_path / "new"
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                job(
                    tmp_path / f"job{seed}",
                    *("--seed", str(seed), "--storage", str(storage), "--workers", "1"),
                    RAY_TMPDIR=lab.ray_home,
                )
            )
            for seed in range(JOBS)
        ]
        reports = [running.finish() for running in started]
    assert [report["seed"] for report in reports] == [0, 1, 2]
    client = MlflowClient(f"sqlite:///{storage}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'uapfp_dist'")
    runs = client.search_runs([experiment.experiment_id], max_results=5000)
    parents = [run for run in runs if "evaluation" in run.data.tags]
    assert [run.info.status for run in parents] == ["FINISHED"] * JOBS
    assert {run.data.tags["evaluation"] for run in parents} == {report["evaluation"] for report in reports}
