"""A whole grid, as a call and as a process that is killed and goes on."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from system import ROOT, ProcessTree, environment, flags, job, tiny_plan, wait_until
from tiny_grids import Listener, SuspectAnswers, small

from uapfp_dist.cli.ablate import print_grid
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.launch import ablation as ablations
from uapfp_dist.reporting.grid_schema import TrialCounts
from uapfp_dist.reporting.report_schema import ModelCounts
from uapfp_dist.serialization import to_json

JOB = ROOT / "jobs" / "ablations.py"


@pytest.fixture
def ray_home() -> Iterator[str]:
    """A folder of a short path: Ray's sockets lie below it, and a socket's name has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as home:
        yield home


def test_an_axis_that_needs_another_probe_gets_it(
    answered: SuspectAnswers, tmp_path: Path, quiet: list[Listener], capsys: pytest.CaptureFixture[str]
) -> None:
    """Probes and answers of two cells are made; of the models none is trained again."""
    answered.copy(tmp_path / "s")
    around = RuntimeConfig(storage=str(tmp_path / "s"), workers=0, report=tmp_path / "grid.json")
    report = ablations.run_grid(small(), "tiny", 0, around, ["uap.n_uaps=2,3", "top_k=0,10"])
    assert report.models == ModelCounts(trained=0, reused=12, failed=0)
    assert len(list((tmp_path / "s" / "probe").iterdir())) == 3
    assert report.trials == TrialCounts(run=4, reused=0)
    plain = to_json(report)
    assert json.loads((tmp_path / "grid.json").read_text()) == plain
    again = ablations.run_grid(small(), "tiny", 0, around, ["uap.n_uaps=2,3", "top_k=0,10"])
    assert again.trials == TrialCounts(run=0, reused=4)
    assert to_json(again)["draws"] == plain["draws"]
    assert [listener.status for listener in quiet] == ["FINISHED", "FINISHED"]
    print_grid(report, around)
    assert "uap.n_uaps" in capsys.readouterr().out


def ablation_job(folder: Path, *arguments: str, **variables: str) -> ProcessTree:
    """jobs/ablations.py over the tiny evaluation, as a process."""
    places = ("--storage", str(folder / "storage"), "--report", str(folder / "grid.json"))
    command = [sys.executable, str(JOB), "--preset", "digits", *flags(small()), *places, *arguments]
    with (folder / "out.txt").open("wb") as out:
        return ProcessTree(
            subprocess.Popen(
                command, cwd=folder, env=environment(**variables), stdout=out, stderr=out, start_new_session=True
            )
        )


@pytest.mark.slow
def test_killed_half_way_and_restored(answered: SuspectAnswers, tmp_path: Path, ray_home: str) -> None:
    """Tune goes on where it was: finished trials are not run again, the others are, and no model is trained."""
    answered.copy(tmp_path / "storage")
    MlflowClient(f"sqlite:///{tmp_path}/storage/mlflow.db").search_experiments()
    grid = ("--grid", "n_points=3,5,8,10", "--grid", "top_k=0,1,3,10", "--workers", "1")
    trials = tmp_path / "storage" / "trial"
    running = ablation_job(tmp_path, *grid, RAY_TMPDIR=ray_home)
    try:

        def enough() -> bool:
            running.look()
            assert running.process.poll() is None, (tmp_path / "out.txt").read_text()[-3000:]
            return len(list(trials.glob("*.safetensors"))) >= 8

        wait_until(enough, 120.0, "eight encoders in the store")
        os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait(10)
        wait_until(lambda: not running.alive(), 60.0, "Ray to notice that its driver is dead")
    finally:
        running.end()
    before = {path.name: path.stat().st_mtime_ns for path in trials.glob("*.safetensors")}
    assert 8 <= len(before) < 32
    (experiment,) = (path for path in (tmp_path / "storage" / "tune").iterdir() if path.is_dir())
    begun = {path.name for path in experiment.iterdir() if path.is_dir()}
    running = ablation_job(tmp_path, *grid, RAY_TMPDIR=ray_home)
    try:
        wait_until(lambda: running.look() or running.process.poll() is not None, 150.0, "the restored grid to end")
    finally:
        running.end()
    assert running.process.returncode == 0, (tmp_path / "out.txt").read_text()[-3000:]
    body: dict[str, Any] = json.loads((tmp_path / "grid.json").read_text())
    assert body["encoders_trained"] == 32 - len(before)
    assert body["models"]["trained"] == 0
    assert len(body["table"]) == 16
    assert body["failures"] == []
    after = {path.name: path.stat().st_mtime_ns for path in trials.glob("*.safetensors")}
    assert {name: after[name] for name in before} == before
    names = {path.name for path in experiment.iterdir() if path.is_dir()}
    assert begun <= names
    assert len({name.split("_")[0] for name in names}) == 1, "Tune has gone on with its experiment, not begun another"


@pytest.mark.slow
@pytest.mark.heavy
def test_full_eval_goes_on_to_the_grid(answered: SuspectAnswers, tmp_path: Path, ray_home: str) -> None:
    """In one process one Ray session after the other: first an answer is missing, then encoders are to be trained."""
    store = answered.copy(tmp_path / "storage")
    plan = tiny_plan()
    store.discard("answers", plan.response(plan.members[1]).id)
    short = ("--methods", "uap", "--verdict.n-resamples", "1")
    with job(tmp_path, "--workers", "1", "--ablations", *short, RAY_TMPDIR=ray_home) as running:
        report = running.finish()
        assert "6 cells, 6 run and 0 reused" in running.stdout
    assert report["models"] == {"trained": 0, "reused": 14, "failed": 0}
    (kept,) = (tmp_path / "storage" / "ablation").glob("*.safetensors")
    body = store.get("ablation", kept.stem).info
    assert body["grid"] == {"n_points": ["10"], "top_k": ["0", "1", "2", "3", "5", "10"]}
    client = MlflowClient(f"sqlite:///{tmp_path}/storage/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'uapfp_dist'")
    (parent,) = client.search_runs([experiment.experiment_id], "tags.preset = 'digits-ablation'")
    nested = client.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert parent.info.status == "FINISHED"
    assert sorted(run.data.tags["top_k"] for run in nested) == ["0", "1", "10", "2", "3", "5"]
