"""A real MLflow server as a process that can be killed and started again, and what a client sees of its runs."""

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from system import Family, environment, free_ports, wait_until

TIMED = ("cpu_seconds", "gpu_seconds", "stage_seconds", "workers_busy", "models/", "system/")
"""Metrics that say how the work was done, not what came out."""
OURS = ("mlflow.parentRunId", "mlflow.runName", "mlflow.loggedArtifacts")
"""MLflow's own tags that a person sees."""


class Server:
    """Database and files in a folder; artifacts go through the server, so that its clients share no disk with it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        (self._port,) = free_ports(1)
        self.uri = f"http://127.0.0.1:{self._port}"
        self._running: Family | None = None

    def start(self) -> None:
        """Wait until it answers."""
        places = ["--backend-store-uri", f"sqlite:///{self._folder}/server.db"]
        places += ["--artifacts-destination", str(self._folder / "files")]
        command = [sys.executable, "-m", "mlflow", "server", *places, "--port", str(self._port), "--workers", "1"]
        with (self._folder / "server.log").open("ab") as log:
            process = subprocess.Popen(command, env=environment(), stdout=log, stderr=log, start_new_session=True)
        self._running = Family(process)
        wait_until(self._answers, 120.0, "the MLflow server to answer")

    def _answers(self) -> bool:
        assert self._running is not None
        self._running.look()
        assert self._running.process.poll() is None, (self._folder / "server.log").read_text()[-2000:]
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(f"{self.uri}/health", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """As a power cut does."""
        if self._running is not None:
            self._running.end()
            self._running = None


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server that answers; it does not outlive the block."""
    server = Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def shown(uri: str, evaluation: str) -> dict[str, Any]:
    """What is there of an evaluation, without times and ids; it must have exactly one run."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("uapfp_dist")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=5000)
    (parent,) = [run for run in runs if run.data.tags.get("evaluation") == evaluation]
    nested = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    curve = [(point.step, point.value) for point in client.get_metric_history(parent.info.run_id, "zoo/accuracy")]
    return {
        "parent": _said(parent),
        "params": parent.data.params,
        "curve": sorted(curve),
        "files": sorted(_files(client, parent.info.run_id)),
        "suspects": sorted((_said(run) for run in nested), key=lambda said: str(said["tags"].get("suspect"))),
    }


def _said(run: Run) -> dict[str, Any]:
    ignored = ("attempt", "device", "mlflow.parentRunId", "publication")
    return {
        "status": run.info.status,
        "tags": {
            key: value
            for key, value in run.data.tags.items()
            if key not in ignored and (not key.startswith("mlflow.") or key in OURS)
        },
        "metrics": {key: value for key, value in run.data.metrics.items() if not key.startswith(TIMED)},
    }


def _files(client: MlflowClient, run: str, folder: str | None = None) -> Iterator[tuple[str, int]]:
    for file in client.list_artifacts(run, folder):
        if file.is_dir:
            yield from _files(client, run, file.path)
        else:
            yield file.path, int(file.file_size or 0) if file.path.endswith(".csv") else 0
