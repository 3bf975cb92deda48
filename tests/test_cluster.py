"""On real Ray: the same verdicts with any number of workers, through kills and interruptions. Every wait is bounded."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from system import JOB, NO_DATABASE, ROOT, Family, Job, environment, flags, free_ports, job, tiny, wait_until

pytestmark = pytest.mark.slow

MODELS = 14
RAY = (sys.executable, "-m", "ray.scripts.scripts")


@dataclass(frozen=True)
class Lab:
    """Where jobs run: a Ray home of its own, and a database that MLflow has laid out already (it takes seconds)."""

    ray_home: str
    database: Path

    def job(self, folder: Path, *arguments: str) -> Any:
        """A job; a new storage gets the empty database."""
        place = folder / "storage" / "mlflow.db"
        if not place.exists():
            place.parent.mkdir(parents=True)
            shutil.copy(self.database, place)
        return job(folder, *arguments, RAY_TMPDIR=self.ray_home)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The path is short: Ray's sockets lie below it, and a socket's name has at most 107 bytes."""
    database = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{database}").search_experiments()
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as home:
        yield Lab(home, database)


@pytest.fixture(scope="session")
def serial(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of one process without Ray: what all others are held against."""
    with lab.job(tmp_path_factory.mktemp("serial"), "--workers", "0") as running:
        report: dict[str, Any] = running.finish()
    assert report["models"] == {"trained": MODELS, "reused": 0, "failed": 0}
    assert report["verdicts"]
    return report


def same(report: dict[str, Any], reference: dict[str, Any]) -> None:
    """To the last bit: JSON keeps every digit of a float."""
    assert report["verdicts"] == reference["verdicts"]
    assert report["auc_detail"] == reference["auc_detail"]
    assert report["failures"] == []


def test_one_worker(lab: Lab, serial: dict[str, Any], tmp_path: Path) -> None:
    with lab.job(tmp_path, "--workers", "1") as running:
        report = running.finish()
    same(report, serial)
    assert report["models"] == {"trained": MODELS, "reused": 0, "failed": 0}


def test_two_workers_and_the_same_command_again(lab: Lab, serial: dict[str, Any], tmp_path: Path) -> None:
    """The second time nothing is trained, and Ray is not even started."""
    with lab.job(tmp_path, "--workers", "2") as running:
        report = running.finish()
    same(report, serial)
    assert report["models"] == {"trained": MODELS, "reused": 0, "failed": 0}
    with lab.job(tmp_path, "--workers", "2") as running:
        again = running.finish()
        assert not running.named("raylet")
    same(again, serial)
    assert again["models"] == {"trained": 0, "reused": MODELS, "failed": 0}


def some_models(running: Job, more_than: int) -> None:
    """Wait until the job is in the middle of training."""

    def enough() -> bool:
        running.look()
        assert running.process.poll() is None, running.stderr[-2000:]
        return running.stored > more_than

    wait_until(enough, 120.0, f"more than {more_than} models in the store")


def test_stopped_by_hand_then_killed_then_finished(lab: Lab, serial: dict[str, Any], tmp_path: Path) -> None:
    """Ctrl-C; later the machine's power; then the same command once more. No model is trained twice."""
    with lab.job(tmp_path, "--workers", "2") as running:
        some_models(running, 1)
        os.killpg(running.process.pid, signal.SIGINT)  # as a terminal does: to the whole foreground group
        assert running.wait(10.0) == 130
        assert "the same command resumes" in running.stderr
        assert "Traceback" not in running.stderr
        wait_until(lambda: not running.alive(), 10.0, "the processes of an interrupted job to end")
        after_interrupt = running.stored
    assert 1 < after_interrupt < MODELS

    with lab.job(tmp_path, "--workers", "2") as running:
        some_models(running, after_interrupt)
        os.killpg(running.process.pid, signal.SIGKILL)
        assert running.wait(10.0) == -signal.SIGKILL
        wait_until(lambda: not running.alive(), 30.0, "Ray to notice that its driver is dead")
        after_kill = running.stored
        assert not running.report_path.exists()
    assert after_interrupt < after_kill < MODELS

    with lab.job(tmp_path, "--workers", "2") as running:
        report = running.finish()
    same(report, serial)
    assert report["models"] == {"trained": MODELS - after_kill, "reused": after_kill, "failed": 0}


def test_terminated(lab: Lab, tmp_path: Path) -> None:
    """SIGTERM, as `kill` and `ray job stop` send it, to the driver alone: as Ctrl-C."""
    with lab.job(tmp_path, "--workers", "2") as running:
        some_models(running, 0)
        running.process.terminate()
        assert running.wait(10.0) == 130
        assert "the same command resumes" in running.stderr
        wait_until(lambda: not running.alive(), 10.0, "the processes of a terminated job to end")


def test_killed_workers_are_replaced(lab: Lab, serial: dict[str, Any], tmp_path: Path) -> None:
    """All of them, in the middle of a model: it is trained again by their successors, and nobody can tell."""
    with lab.job(tmp_path, "--workers", "2") as running:
        some_models(running, 0)
        wait_until(lambda: running.named("ray::Worker.perform"), 30.0, "a worker at work")
        for victim in running.named("ray::Worker"):
            os.kill(victim, signal.SIGKILL)
        report = running.finish()
    assert "its process ended" in running.stderr
    same(report, serial)
    assert report["models"] == {"trained": MODELS, "reused": 0, "failed": 0}


def test_a_killed_arbiter_is_replaced(lab: Lab, serial: dict[str, Any], tmp_path: Path) -> None:
    """The central actor, in the middle of the zoo: its successor hears what it heard, and MLflow has one run of it."""
    with lab.job(tmp_path, "--workers", "2") as running:
        some_models(running, 1)
        (victim,) = running.named("ray::_Actor")
        os.kill(victim, signal.SIGKILL)
        report = running.finish()
    same(report, serial)
    assert report["models"] == {"trained": MODELS, "reused": 0, "failed": 0}
    client = MlflowClient(f"sqlite:///{tmp_path / 'storage' / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("uapfp_dist").experiment_id], max_results=5000)
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert (parent.info.status, parent.data.tags["evaluation"]) == ("FINISHED", report["evaluation"])
    suspects = [run.data.tags["model"] for run in runs if run is not parent]
    assert len(suspects) == len(set(suspects))
    assert {verdict["model"] for verdict in report["verdicts"]} <= set(suspects)


def test_a_torn_database_is_found_before_the_training(lab: Lab, tmp_path: Path) -> None:
    """It is the arbiter, in its own process, that opens the database; the driver must hear of it at once."""
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "mlflow.db").write_text(NO_DATABASE)
    with lab.job(tmp_path, "--workers", "1") as running:
        assert running.wait() == 2
        assert running.stderr.splitlines()[-1].startswith("full_eval: error: mlflow: ")
        assert "Traceback" not in running.stderr
        assert running.stored == 0


@pytest.fixture
def head(lab: Lab) -> Iterator[str]:
    """A Ray cluster of this machine alone; yields the address of its dashboard."""
    gcs, dashboard, client, agent = free_ports(4)
    ports = ["--port", gcs, "--dashboard-port", dashboard, "--ray-client-server-port", client]
    options = [*ports, "--dashboard-agent-listen-port", agent, "--num-cpus", 2, "--disable-usage-stats"]
    command = [*RAY, "start", "--head", "--block", *map(str, options)]
    env = environment(RAY_TMPDIR=lab.ray_home)
    quiet = subprocess.DEVNULL
    running = Family(subprocess.Popen(command, env=env, stdout=quiet, stderr=quiet, start_new_session=True))
    address = f"http://127.0.0.1:{dashboard}"

    def answers() -> bool:
        running.look()
        assert running.process.poll() is None, "the head ended at once"
        try:
            with urllib.request.urlopen(f"{address}/api/jobs/", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    try:
        wait_until(answers, 90.0, "the head to answer")
        yield address
    finally:
        running.end()


def test_ray_job_submit(head: str, lab: Lab, serial: dict[str, Any], tmp_path: Path) -> None:
    """The job works in a copy of the repository; storage and report lie at absolute paths."""
    report = tmp_path / "report.json"
    places = ["--storage", str(tmp_path / "storage"), "--report", str(report)]
    job_line = ["python", str(JOB.relative_to(ROOT)), *flags(tiny()), *places]
    command = [*RAY, "job", "submit", "--address", head, "--working-dir", ".", "--", *job_line]
    env = environment(RAY_TMPDIR=lab.ray_home)
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=240)
    assert report.exists(), (done.stdout + done.stderr)[-3000:]
    same(json.loads(report.read_text()), serial)
    assert done.returncode == 0


@pytest.mark.heavy
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="network namespaces want root and iproute2")
def test_lost_hosts(tmp_path: Path) -> None:
    """Three hosts with their own addresses and an object store; one is killed in mid-zoo, another joins."""
    command = [sys.executable, str(ROOT / "jobs" / "hosts.py"), "--keep", str(tmp_path / "logs")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=590)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "1 of 1 evaluations" in done.stdout
