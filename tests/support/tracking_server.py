"""An MLflow server as a process that can be killed and restarted."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from system import ProcessTree, environment, free_ports

TIMED = ("cpu_seconds", "gpu_seconds", "stage_seconds", "workers_busy", "models/", "progress/")
"""Metrics of the work rather than of the result."""
SHOWN_TAGS = ("mlflow.parentRunId", "mlflow.runName", "mlflow.loggedArtifacts", "mlflow.note.content")
"""Tags of MLflow's that its page shows."""


class Server:
    """Database and files in a folder; artifacts go through the server: its clients share no disk with it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        (self._port,) = free_ports(1)
        self.uri = f"http://127.0.0.1:{self._port}"
        self._running: ProcessTree | None = None

    def start(self) -> None:
        """Wait until it responds."""
        options = ["--backend-store-uri", f"sqlite:///{self._folder}/server.db"]
        options += ["--artifacts-destination", str(self._folder / "files")]
        command = [sys.executable, "-m", "mlflow", "server", *options, "--port", str(self._port), "--workers", "1"]
        with (self._folder / "server.log").open("ab") as log:
            process = subprocess.Popen(command, env=environment(), stdout=log, stderr=log, start_new_session=True)
        self._running = ProcessTree(process)
        self._running.wait_for(f"{self.uri}/health", self._folder / "server.log")

    def kill(self) -> None:
        """SIGKILL, as at a power cut."""
        if self._running is not None:
            self._running.end()
            self._running = None


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A running server; it ends with the block."""
    server = Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def shown(uri: str, evaluation: str) -> dict[str, Any]:
    """The run of an evaluation, which must be one, and its nested runs, without times and ids."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("uapfp_dist")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=5000)
    (parent,) = [run for run in runs if run.data.tags.get("evaluation") == evaluation]
    nested = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    curve = [(point.step, point.value) for point in client.get_metric_history(parent.info.run_id, "zoo/accuracy")]
    return {
        "parent": _shown(parent),
        "params": parent.data.params,
        "curve": sorted(curve),
        "files": sorted(_files(client, parent.info.run_id)),
        "suspects": sorted((_shown(run) for run in nested), key=lambda run: str(run["tags"].get("suspect"))),
    }


def _shown(run: Run) -> dict[str, Any]:
    ignored = ("attempt", "device", "mlflow.parentRunId", "publication")
    return {
        "status": run.info.status,
        "tags": {
            key: value.replace(run.info.run_id, "RUN")
            for key, value in run.data.tags.items()
            if key not in ignored and (not key.startswith("mlflow.") or key in SHOWN_TAGS)
        },
        "metrics": {key: value for key, value in run.data.metrics.items() if not key.startswith(TIMED)},
    }


def _files(client: MlflowClient, run: str, folder: str | None = None) -> Iterator[tuple[str, int]]:
    for file in client.list_artifacts(run, folder):
        if file.is_dir:
            yield from _files(client, run, file.path)
        else:
            yield file.path, int(file.file_size or 0) if file.path.endswith(".csv") else 0
