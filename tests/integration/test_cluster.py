"""On a Ray of the job's own: the same verdicts with any number of workers, through kills and interruptions.

Every wait is bounded.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from system import MODELS, NO_DATABASE, Job, Lab, same, wait_until

pytestmark = pytest.mark.slow

QUERIED = MODELS - 2
"""The two other victims are extracted from, not queried."""


def test_the_report_file_has_every_documented_key(serial: dict[str, Any]) -> None:
    """As the README lists them: others read it."""
    assert {"preset", "seed", "wall_seconds", "stage_seconds", "workers_busy", "failures", "environment"} <= set(serial)
    assert set(serial["models"]) == {"trained", "reused", "failed"}
    assert 0.0 <= serial["victim"]["accuracy"] <= 1.0
    assert {"xi", "fooling_rate", "fooling_rate_clipped"} <= set(serial["uap"])
    assert {"alpha", "conformal", "t_test"} <= set(serial["false_accusation"])
    assert "conformal" in serial["power"]
    assert serial["unique_queries_per_suspect"] > 0
    for verdict in serial["verdicts"]:
        assert {"model", "role", "similarity", "p_value", "claim", "decided_by"} <= set(verdict)


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


@pytest.mark.heavy
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


def judging(running: Job) -> None:
    """Wait until the central actor fits and judges."""
    some_models(running, MODELS - 1)
    responses = running.storage / "answers"
    wait_until(lambda: len(list(responses.glob("*.safetensors"))) == QUERIED, 60.0, "all responses")
    wait_until(lambda: running.named("ray::_Host.call"), 60.0, "the central actor at work")


def training(running: Job) -> None:
    """Kill all workers in the middle of a model: it is trained again by their successors, with the same result."""
    some_models(running, 1)
    wait_until(lambda: running.named("ray::Worker.perform"), 30.0, "a worker at work")
    for victim in running.named("ray::Worker"):
        os.kill(victim, signal.SIGKILL)
    wait_until(lambda: "its process ended" in running.stderr, 30.0, "the loss of the workers to be noticed")


@pytest.mark.parametrize("moment", [training, judging])
def test_a_killed_evaluator_is_replaced(
    moment: Callable[[Job], None], lab: Lab, serial: dict[str, Any], tmp_path: Path
) -> None:
    """Once after all workers were. Its successor is sent what it was sent and judges the same, in one run of MLflow."""
    with lab.job(tmp_path, "--workers", "2") as running:
        moment(running)
        (victim,) = running.named("ray::_Host")
        os.kill(victim, signal.SIGKILL)
        report = running.finish()
        assert "the evaluator is replaced" in running.stderr
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
    """It is the evaluator, in its own process, that opens the database; the driver must report it at once."""
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "mlflow.db").write_text(NO_DATABASE)
    with lab.job(tmp_path, "--workers", "1") as running:
        assert running.wait() == 2
        assert running.stderr.splitlines()[-1].startswith("full_eval: error: mlflow: ")
        assert "Traceback" not in running.stderr
        assert running.stored == 0
