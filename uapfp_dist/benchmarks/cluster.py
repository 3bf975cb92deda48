"""Part `scaling` of the benchmark: the speedup by a second worker, and the cost of Ray."""

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch

from uapfp_dist.benchmarks.results import Run, Scaling
from uapfp_dist.cluster.pool import RayPool
from uapfp_dist.cluster.session import session
from uapfp_dist.cluster.spec_resources import seconds_for
from uapfp_dist.cluster.worker import open_context
from uapfp_dist.config.schema import Config
from uapfp_dist.data import load
from uapfp_dist.evaluation.plan import make_plan
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.progress import Progress
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.executor import attempt_task
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.outcomes import Done, Outcome
from uapfp_dist.tasks.pool import Pool
from uapfp_dist.tasks.scheduler import run_tasks
from uapfp_dist.tasks.specs import ModelSpec

WORKERS = 2
START_SECONDS = 60.0


def never(spec: Spec) -> bool:
    """Nothing is in the store."""
    return False


class BarePool:
    """The same work in the standard library's process pool, with which Ray is compared."""

    size = WORKERS

    def __init__(self, storage: str) -> None:
        begin = partial(_begin, storage)
        self._pool = ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn"), initializer=begin)
        self._running: set[Future[Outcome]] = set()
        wait([self._pool.submit(time.sleep, 1.0) for _ in range(WORKERS)])  # a process each: now they have started

    def submit(self, spec: Spec) -> None:
        """Queue `spec`."""
        self._running.add(self._pool.submit(_do, spec))

    def wait(self, timeout: float) -> list[Outcome]:
        """Outcomes that are there."""
        done, self._running = wait(self._running, timeout, FIRST_COMPLETED)
        return [future.result() for future in done]

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown()


_contexts: list[TaskContext] = []


def _begin(storage: str) -> None:
    torch.set_num_threads(1)
    _contexts.append(TaskContext(Store(storage), None, torch.device("cpu")))


def _do(spec: Spec) -> Outcome:
    return attempt_task(spec, partial(perform_task, _contexts[0]), "bare")


def timed(specs: list[ModelSpec], pool: Pool, workers: int) -> Run:
    """Train `specs` once all workers have started; the victim, which all others need, is not counted."""
    victim = specs[0]
    assert all(isinstance(outcome, Done) for outcome in run_tasks([victim], pool, never))
    late = time.monotonic() + START_SECONDS
    while pool.size < workers and time.monotonic() < late:
        pool.wait(0.1)
    busy, began = 0.0, time.perf_counter()
    for outcome in run_tasks(specs, pool, lambda spec: spec.id == victim.id):
        assert isinstance(outcome, Done), outcome
        busy += outcome.seconds
    wall = time.perf_counter() - began
    pool.close()
    return Run(wall, busy)


@contextmanager
def ray_pool(config: Config, storage: str, workers: int) -> Iterator[Pool]:
    """The product's own."""
    plan = make_plan(config, 0, load("digits", None))
    opening = partial(open_context, storage, None, Store(storage).write_marker(), plan.data)
    with session(None):
        yield RayPool(opening, lambda spec: 0.0, seconds_for, workers, progress=Progress(workers))


@contextmanager
def bare_pool(config: Config, storage: str, workers: int) -> Iterator[Pool]:
    """The standard library's."""
    yield BarePool(storage)


POOLS: dict[str, tuple[Callable[[Config, str, int], Any], int]] = {
    "one": (ray_pool, 1),
    "two": (ray_pool, WORKERS),
    "bare": (bare_pool, WORKERS),
}


def scaling(config: Config, say: Callable[[str], object]) -> Scaling:
    """The zoo of `config` with one and two workers, and in a bare pool of two processes."""
    specs = [spec for spec in make_plan(config, 0, load("digits", None)).specs if isinstance(spec, ModelSpec)]
    runs = {}
    for name, (make_pool, workers) in POOLS.items():
        with tempfile.TemporaryDirectory() as storage, make_pool(config, storage, workers) as pool:
            runs[name] = timed(specs, pool, workers)
    speedup = runs["one"].wall / runs["two"].wall
    busy = runs["two"].busy / (WORKERS * runs["two"].wall)
    overhead = runs["two"].wall / runs["bare"].wall - 1
    say(
        f"scaling, {len(specs)} models: two workers {speedup:.2f}x one; busy {busy:.2f} of wall x workers; Ray "
        f"{100 * overhead:+.1f} % of the time of a bare process pool"
    )
    return Scaling(speedup, busy, overhead, runs)
