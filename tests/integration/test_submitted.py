"""Jobs submitted to a cluster with token authentication: their output, nodes that join and are lost, kills.

The cluster is several raylets of this machine; network namespaces, with addresses of their own, need root (see
jobs/hosts.py and the heavy test at the end). Every wait is bounded.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from ray_nodes import RAY, Cluster, Submitted
from system import JOB, MODELS, ROOT, Lab, environment, flags, same, tiny, wait_until

from uapfp_dist.fingerprints.methods.registry import PROBE_METHODS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

PENDING = re.compile(r"'GPU': 1\.0.*pending")
"""The line of `ray status` about workers without a node."""


@pytest.fixture
def cluster(lab: Lab, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster without nodes."""
    cluster = Cluster(lab.ray_home, tmp_path)
    try:
        yield cluster
    finally:
        cluster.close()


def evaluation(folder: Path, *more: str) -> list[str]:
    """The command of a tiny evaluation, with absolute paths of storage and report."""
    paths = ["--storage", str(folder / "storage"), "--report", str(folder / "report.json")]
    return ["python", str(JOB.relative_to(ROOT)), "--methods", *PROBE_METHODS, *flags(tiny()), *paths, *more]


def stored(folder: Path) -> int:
    """Number of models in the storage of an evaluation."""
    return len(list((folder / "storage" / "model").glob("*.safetensors")))


def report_of(folder: Path) -> dict[str, Any]:
    """The report of an evaluation."""
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def test_output_and_exit_code_of_a_submitted_job(cluster: Cluster, serial: dict[str, Any], tmp_path: Path) -> None:
    """The verdicts of one process; a grid on its responses; an exit code above 0 for a failure."""
    cluster.start_head(cpus=2)
    code, output = cluster.submit(*evaluation(tmp_path), RAY_AUTH_TOKEN="b2" * 32).end(60.0)
    assert code != 0, output
    assert stored(tmp_path) == 0, "nothing without the token"

    code, output = cluster.submit(*evaluation(tmp_path)).end()
    assert code == 0, output[-3000:]
    same(report_of(tmp_path), serial)

    grid = ["--grid", "n_points=5,10", "--grid", "top_k=0,10", "--storage", str(tmp_path / "storage")]
    code, output = cluster.submit("python", "jobs/ablations.py", *flags(tiny()), *grid).end()
    assert code == 0, output[-3000:]
    assert re.search(r"4 cells, 4 run and 0 reused, \d+ encoders trained, 0 models trained", output), output[-3000:]

    lost = evaluation(tmp_path / "lost", "--zoo.homologous-margin", "-0.5", "--zoo.attempts", "1")
    code, output = cluster.submit(*lost).end()
    assert code != 0, output[-3000:]
    assert not (tmp_path / "lost" / "report.json").exists()
    assert "full_eval: error: " in output


@pytest.mark.heavy  # random deaths kill drivers, too
def test_a_killed_driver_is_submitted_again(cluster: Cluster, serial: dict[str, Any], tmp_path: Path) -> None:
    """What is stored is not computed again, and the verdicts are the same."""
    head = cluster.start_head(cpus=2)
    first = cluster.submit(*evaluation(tmp_path))
    first.wait_for(lambda: stored(tmp_path) > 0, "a model")
    drivers = [pid for pid in head.named(str(JOB.name)) if pid != first.process.pid]
    assert drivers
    for pid in drivers:
        with suppress(ProcessLookupError):  # the shell that started the other
            os.kill(pid, signal.SIGKILL)
    code, output = first.end()
    assert code != 0, output[-3000:]
    assert not (tmp_path / "report.json").exists()
    wait_until(lambda: not head.named("ray::Worker"), 60.0, "the workers of a killed driver to end")
    before = stored(tmp_path)
    assert 0 < before < MODELS

    code, output = cluster.submit(*evaluation(tmp_path)).end()
    assert code == 0, output[-3000:]
    report = report_of(tmp_path)
    same(report, serial)
    assert report["models"] == {"trained": MODELS - before, "reused": before, "failed": 0}


def test_nodes_of_two_kinds_that_join_and_are_lost(cluster: Cluster, serial: dict[str, Any], tmp_path: Path) -> None:
    """Submitted where no worker fits yet: an autoscaler sees the demand. A node is killed while the zoo is trained.

    The log shows the progress. (An ETA only if a line comes between the first model and the last: seconds, here.)
    """
    cluster.start_head(cpus=0)
    running = cluster.submit(*evaluation(tmp_path, "--gpus-per-worker", "1"))
    running.wait_for(lambda: PENDING.search(cluster.status()), "demand for workers")
    plain = cluster.add(cpus=4, gpus=0)
    lost = cluster.add(cpus=1, gpus=1)
    running.wait_for(lambda: stored(tmp_path) > 0, "a model")
    workers = lost.named("ray::Worker")
    lost.end()
    wait_until(lambda: not lost.alive(), 10.0, "the processes of a killed node to end")
    assert stored(tmp_path) < MODELS
    assert len(workers) == 1
    joined = cluster.add(cpus=1, gpus=1)
    running.wait_for(lambda: joined.named("ray::Worker"), "work for the node that joined")
    assert not plain.named("ray::Worker"), "a node without a GPU trains nothing where others have one"
    code, output = running.end()
    assert code == 0, output[-3000:]
    assert re.search(r"\[\d\d:\d\d\] zoo \d+/14( ETA \d\d:\d\d)?  ", output), output[-3000:]
    assert "the evaluator goes on with 1 GPU" in output, output[-3000:]
    same(report_of(tmp_path), serial)
    assert report_of(tmp_path)["models"] == {"trained": MODELS, "reused": 0, "failed": 0}
    wait_until(lambda: not PENDING.search(cluster.status()), 60.0, "no more demand")


@pytest.mark.heavy
def test_every_end_of_a_submission_is_one_line(cluster: Cluster) -> None:
    """jobs/submit.py against a real head: one that refuses, one that is killed, and one that falls silent."""
    head = cluster.start_head(cpus=1)

    def ends(code: int, said: str, submitted: Submitted) -> None:
        found, output = submitted.end(120.0)
        assert found == code, output
        assert re.search(said, output.splitlines()[-1]), output
        assert "Traceback" not in output

    def running() -> Submitted:
        submitted = cluster.submit_by_script("sh", "-c", "echo begun; exec sleep 1000")
        submitted.wait_for(lambda: "begun" in submitted.output, "its output")
        return submitted

    ends(
        1,
        "^submit: error: expected the token of the head, ",
        cluster.submit_by_script("true", RAY_AUTH_TOKEN="b2" * 32),
    )
    ends(0, "^job raysubmit_[^ ]+ succeeded$", done := cluster.submit_by_script("sh", "-c", "printf 'a\\nb c'"))
    assert "a\nb c" in done.output
    ends(1, "^submit: error: job [^ ]+ failed with exit code 3;", cluster.submit_by_script("sh", "-c", "exit 3"))
    left = running()
    left.process.send_signal(signal.SIGINT)
    ends(130, "^job [^ ]+ goes on; ", left)
    assert head.named("sleep 1000")
    stopped = running()
    (number,) = re.findall("^job (raysubmit_[^ ]+) has", stopped.output, re.MULTILINE)
    stop = [*RAY, "job", "stop", "--address", cluster.dashboard, number]
    subprocess.run(stop, env=cluster.env, check=True, timeout=180)
    ends(1, f"^submit: error: job {number} was stopped; ", stopped)
    silent, killed = running(), running()
    lost = "^submit: error: lost the head under job [^ ]+ [(]({})[)]; if it died, start it again"
    servers = head.named("dashboard/dashboard.py")
    for pid in servers:
        os.kill(pid, signal.SIGSTOP)
    ends(1, lost.format("no answer in 10 s"), silent)
    head.end()
    ends(1, lost.format("Connection refused|Connection reset|no answer in 10 s"), killed)
    ends(1, "^submit: error: expected the head of a cluster at .*could not reach it", cluster.submit_by_script("true"))


@pytest.mark.heavy
def test_three_seeds_submitted_at_once(cluster: Cluster, serial: dict[str, Any], tmp_path: Path) -> None:
    """Into one new storage, by one worker each: no job fails because of another's start."""
    cluster.start_head(cpus=3)
    seeds = range(3)
    jobs = [
        cluster.submit(
            *evaluation(tmp_path, "--seed", str(seed), "--report", str(tmp_path / f"{seed}.json"), "--workers", "1")
        )
        for seed in seeds
    ]
    for submitted in jobs:
        code, output = submitted.end(500.0)
        assert code == 0, output[-3000:]
    client = MlflowClient(f"sqlite:///{tmp_path}/storage/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'uapfp_dist'")
    runs = client.search_runs([experiment.experiment_id], max_results=5000)
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert [run.info.status for run in parents] == ["FINISHED"] * len(seeds)
    reports = [json.loads((tmp_path / f"{seed}.json").read_text()) for seed in seeds]
    same(reports[0], serial)
    assert reports[0]["models"] == {"trained": MODELS, "reused": 0, "failed": 0}
    assert {run.data.tags["evaluation"] for run in parents} == {report["evaluation"] for report in reports}


@pytest.mark.heavy
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="network namespaces need root and iproute2")
def test_random_deaths(tmp_path: Path) -> None:
    """Hosts with their own addresses and an object store; in each of four runs something else dies (chance.py)."""
    command = [sys.executable, str(ROOT / "jobs" / "hosts.py"), "--evaluations", "4", "--enrolments", "0"]
    command += ["--keep", str(tmp_path / "logs")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=1100)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "4 of 4 deaths were survived" in done.stdout
