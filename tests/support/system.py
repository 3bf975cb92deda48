"""Support of the system tests: a tiny evaluation, and jobs as processes that end with their test."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from uapfp_dist.central.evaluate import evaluate
from uapfp_dist.central.evaluator import Evaluator
from uapfp_dist.config.command_line import config_flags
from uapfp_dist.config.presets import preset
from uapfp_dist.config.schema import Config, SiblingConfig
from uapfp_dist.data import load
from uapfp_dist.evaluation.plan import Plan, make_plan
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.fingerprints.methods.registry import PROBE_METHODS
from uapfp_dist.progress import Progress
from uapfp_dist.reporting.report import Report
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.method_configs import ChurnConfig
from uapfp_dist.tasks.pool import Pool, SerialPool
from uapfp_dist.tracking.tracker import NullTracker, Tracker

ROOT = Path(__file__).resolve().parents[2]
JOB = ROOT / "jobs" / "full_eval.py"
MODELS = 14
"""Models of `tiny`."""
NO_DATABASE = "not a database, whatever its name says. " * 9


def tiny(alpha: float = 0.5) -> Config:
    """Fourteen small nets, trained in seconds. At alpha 0.5 one calibration model is enough to decide."""
    base = preset("digits")
    return replace(
        base,
        zoo=replace(
            base.zoo,
            width=4,
            epochs=4.0,
            n_piracy=3,
            n_homologous=4,
            n_same_data=1,
            n_soft_piracy=1,
            n_other_piracy=(1, 1),
            homologous_margin=0.9,
            piracy_margin=0.9,
        ),
        uap=replace(base.uap, xi_grid=(0.3, 0.6), n_images=200, passes=2),
        fingerprint=replace(base.fingerprint, n_points=10, n_views=4, n_test_views=4, n_natural=20, max_natural=50),
        encoder=replace(base.encoder, epochs=3),
        verdict=replace(
            base.verdict, alpha=alpha, n_train=2, n_calibrate=1, n_resamples=2, methods=tuple(PROBE_METHODS)
        ),
        siblings=SiblingConfig(),
    )


def tiny_with_siblings() -> Config:
    """The same with a committee of three and two models stolen from siblings, all methods compared."""
    base = tiny()
    return replace(
        base,
        siblings=SiblingConfig(3, 2, 0.2),
        churn=ChurnConfig(pool_size=600, budgets=(20, 100), n_points=100, max_points=200),
        verdict=replace(base.verdict, methods=preset("digits").verdict.methods),
    )


def flags(config: Config) -> list[str]:
    """The options that turn the preset `digits` into `config`; what it compares is `--methods`."""
    base = preset("digits")
    return config_flags(replace(config, verdict=replace(config.verdict, methods=base.verdict.methods)), base)


def copy_store(folder: Path, to: Path, *kinds: str) -> Store:
    """A store with the artifacts in `folder`, or with those of `kinds` alone."""
    if not kinds:
        shutil.copytree(folder, to)
    for kind in kinds:
        shutil.copytree(folder / kind, to / kind)
    return Store(str(to))


def tiny_plan(config: Config | None = None) -> Plan:
    """The plan of a tiny evaluation, seed 0."""
    return make_plan(config or tiny(), 0, load("digits", None))


def context_on(store: Store) -> TaskContext:
    """A context of tasks on the CPU."""
    return TaskContext(store, None, torch.device("cpu"))


def run_here(
    plan: Plan,
    store: Store,
    pool: Pool | None = None,
    threads: int = 1,
    tracker: Tracker | None = None,
) -> Report:
    """Evaluate in this process, without Ray and MLflow."""
    evaluator = Evaluator(plan, store, tracker or NullTracker(), threads)
    chosen = pool or SerialPool(partial(perform_task, context_on(store)))
    with open(os.devnull, "w") as out:
        return evaluate(plan, store, chosen, evaluator, Progress(workers=1, out=out), {})


class Keeper(NullTracker):
    """A tracker that keeps the files it is given."""

    def __init__(self, folder: Path) -> None:
        self.kept = folder

    def log_files(self, folder: Path) -> None:
        """A copy."""
        shutil.copytree(folder, self.kept)


class ProcessTree:
    """A process and its descendants, also those whose parents have ended."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self._seen: set[tuple[int, str]] = set()

    def look(self) -> None:
        """Record every descendant there is now."""
        table = _processes()
        known = {self.process.pid} | {pid for pid, born in self._seen if table.get(pid, ("", 0))[0] == born}
        grown = True
        while grown:
            more = {pid for pid, (_, parent) in table.items() if parent in known} - known
            known |= more
            grown = bool(more)
        self._seen |= {(pid, table[pid][0]) for pid in known if pid in table}

    def alive(self) -> list[int]:
        """Processes that still run; zombies do not count."""
        table = _processes()
        return [pid for pid, born in self._seen if table.get(pid, ("", 0))[0] == born]

    def named(self, text: str) -> list[int]:
        """Running processes with `text` in their command line."""
        self.look()
        return [pid for pid in self.alive() if text in command_line(pid)]

    def wait_for(self, url: str, log: Path) -> None:
        """Wait until the server that the process is responds at `url`; fail the test, with its log, if it ends."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def responds() -> bool:
            self.look()
            assert self.process.poll() is None, log.read_text()[-2000:]
            try:
                with direct.open(url, timeout=5) as http_response:
                    return bool(http_response.status == 200)
            except OSError:
                return False

        wait_until(responds, 120.0, f"{url} to respond")

    def end(self) -> None:
        """Kill those that are left."""
        self.look()
        for pid in self.alive():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=30)


def _processes() -> dict[int, tuple[str, int]]:
    """Running processes: id to (start time, parent)."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parts = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if parts[0] not in "ZX":
                    found[int(entry.name)] = (parts[19], int(parts[1]))
    return found


def command_line(pid: int) -> str:
    """The command line of a process, or the title it has set."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Poll `condition`; fail the test if it does not hold in time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"expected within {seconds:g} s: {what}")
        time.sleep(0.05)


def free_ports(n: int) -> list[int]:
    """Unused ports of this machine."""
    sockets = [socket.socket() for _ in range(n)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def environment(**more: str) -> dict[str, str]:
    """Of a job: this interpreter first, without the settings of whoever runs the tests."""
    theirs = ("RAY_", "MLFLOW_", "UAPFP_")
    own = {key: value for key, value in os.environ.items() if not key.startswith(theirs)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{own.get('PATH', '')}"
    return {**own, "PATH": path, "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled", **more}


class Job(ProcessTree):
    """full_eval.py on the tiny configuration, as a process.

    Args:
        folder: of storage, report and output.
        arguments: more options.
        variables: more environment variables.
    """

    def __init__(self, folder: Path, arguments: Iterable[str], variables: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.storage = folder / "storage"
        self.report_path = folder / "report.json"
        self.report_path.unlink(missing_ok=True)
        paths = ("--storage", str(self.storage), "--report", str(self.report_path))
        evaluation = ("--preset", "digits", "--methods", *PROBE_METHODS, *flags(tiny()))
        command = [sys.executable, str(JOB), *evaluation, *paths, *arguments]
        self._out, self._err = folder / "out.txt", folder / "err.txt"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            super().__init__(
                subprocess.Popen(
                    command, cwd=folder, env=environment(**variables), stdout=out, stderr=err, start_new_session=True
                )
            )

    @property
    def stdout(self) -> str:
        """Its output so far."""
        return self._out.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """Its progress and errors so far."""
        return self._err.read_text(errors="replace")

    @property
    def stored(self) -> int:
        """Number of models in its storage."""
        return len(list((self.storage / "model").glob("*.safetensors")))

    def wait(self, seconds: float = 240.0) -> int:
        """Wait for its end; returns its exit code."""

        def over() -> bool:
            self.look()
            return self.process.poll() is not None

        wait_until(over, seconds, f"the job to end; stderr: {self.stderr[-2000:]}")
        return self.process.returncode

    def finish(self) -> dict[str, Any]:
        """Wait for its success and the end of all its processes; returns its report."""
        assert self.wait() == 0, self.stderr[-3000:]
        wait_until(lambda: not self.alive(), 15.0, "its processes to end")
        report: dict[str, Any] = json.loads(self.report_path.read_text())
        return report


@contextmanager
def job(folder: Path, *arguments: str, **variables: str) -> Iterator[Job]:
    """A running job; all of its processes end with the block."""
    running = Job(folder, arguments, variables)
    try:
        yield running
    finally:
        running.end()


@dataclass(frozen=True)
class Lab:
    """Where jobs run: a Ray folder of their own, and an empty MLflow database, whose creation takes seconds."""

    ray_home: str
    database: Path

    def job(self, folder: Path, *arguments: str) -> Any:
        """A job; a new storage gets a copy of the database."""
        database = folder / "storage" / "mlflow.db"
        if not database.exists():
            database.parent.mkdir(parents=True)
            shutil.copy(self.database, database)
        return job(folder, *arguments, RAY_TMPDIR=self.ray_home)


def same(report: dict[str, Any], reference: dict[str, Any]) -> None:
    """Equal bit for bit: JSON keeps every digit of a float."""
    assert report["verdicts"] == reference["verdicts"]
    assert report["auc_detail"] == reference["auc_detail"]
    assert report["failures"] == []
