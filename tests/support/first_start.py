"""What a job does when it starts, in processes that all do it at once, round after round."""

import multiprocessing
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.launch.tracker import open_tracker
from uapfp_dist.storage.store import Store

JOBS = 3
BARRIER_SECONDS = 120.0


@dataclass(frozen=True)
class Round:
    """A storage that all jobs open at the same moment."""

    storage: Path
    locks: bool = True
    """Whether its file system has locks."""
    uri: str | None = None
    """Of MLflow; None: beside the artifacts."""


def start_together(rounds: Sequence[Round]) -> list[list[str]]:
    """What became of every job, by round: an error, or `ok`, followed by `made` for each database that it published."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(JOBS), context.Queue()
    jobs = [context.Process(target=_jobs, args=(seed, rounds, barrier, results), daemon=True) for seed in range(JOBS)]
    for job in jobs:
        job.start()
    try:
        found = [results.get(timeout=BARRIER_SECONDS) for _ in range(JOBS * len(rounds))]
    finally:
        for job in jobs:
            job.join(10.0)
            job.kill()
    return [[said for number, said in found if number == i] for i in range(len(rounds))]


def _jobs(seed: int, rounds: Sequence[Round], barrier: Barrier, results: Any) -> None:
    from uapfp_dist.tracking import mlflow_database

    published: list[Path] = []
    publish, locked = mlflow_database._publish, mlflow_database.try_lock

    def counted(copy: Path, path: Path) -> None:
        published.append(path)
        publish(copy, path)

    mlflow_database._publish = counted
    for number, each in enumerate(rounds):
        mlflow_database.try_lock = locked if each.locks else lambda file: True
        published.clear()
        barrier.wait(BARRIER_SECONDS)
        try:
            _start(seed, each)
            results.put((number, " ".join(["ok", *["made"] * len(published)])))
        except BaseException as error:
            results.put((number, f"{type(error).__name__}: {error}"))


def _start(seed: int, each: Round) -> None:
    """One job, as it starts and ends."""
    paths = resolve(RuntimeConfig(storage=str(each.storage), mlflow_uri=each.uri))
    store = Store(paths.storage)
    assert store.has_marker(store.write_marker())
    store.put("plan", "the same", {}, {"of": "all"})
    tracker = open_tracker(paths)
    tracker.start_run(f"evaluation {seed}", {"seed": seed}, {"preset": "digits"})
    tracker.log_metrics({"auc": 0.5})
    tracker.log_suspect("suspect", {"model": "m"}, {"p": 0.5})
    files = each.storage / f"files{seed}"
    files.mkdir()
    (files / "report.json").write_text("{}")
    tracker.log_files(files)
    tracker.end_run("FINISHED")
    shutil.rmtree(files)
