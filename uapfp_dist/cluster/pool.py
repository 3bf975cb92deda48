"""Specs on Ray actors. A worker that dies is replaced and its spec done again; nothing is held in a worker."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from uapfp_dist.cluster.worker import Worker
from uapfp_dist.errors import UserError
from uapfp_dist.specs import Spec
from uapfp_dist.types import Failed, Outcome

START_SECONDS = 60.0
FIRST_WORKER_SECONDS = 600.0
"""An autoscaler may have to start a machine."""
MAX_TRIES = 3
"""Workers that may die over one spec before it counts as failed."""


@dataclass
class _Task:
    spec: Spec
    worker: Any
    started: float
    tries: int


class RayPool:
    """A fixed number of worker actors, each pinned to its share of a GPU or to one CPU.

    Args:
        size: workers.
        gpus: share of a GPU for each (1, a fraction, or 0 for the CPU).
        storage: the store's URL.
        data_root: where the images lie on every node.
        limit: seconds after which a spec counts as hung; its worker is replaced.
    """

    def __init__(self, size: int, gpus: float, storage: str, data_root: Path | None, limit: float) -> None:
        self._size = size
        self._limit = limit
        self._arguments = (storage, data_root)
        self._actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(Worker)
        self._idle = [self._new() for _ in range(size)]
        self._running: dict[ray.ObjectRef, _Task] = {}
        self.deaths = 0
        """Workers lost so far."""
        self._await_workers()

    def _await_workers(self) -> None:
        """Wait for the first worker, and for the others as long as a healthy machine needs to start them.

        Raises:
            UserError: what a worker found wrong with storage or data; or no worker could be had.
        """
        pings = [worker.ready.remote() for worker in self._idle]
        ready, _ = ray.wait(pings, num_returns=len(pings), timeout=START_SECONDS)
        ready = ready or ray.wait(pings, num_returns=1, timeout=FIRST_WORKER_SECONDS)[0]
        if not ready:
            raise UserError(
                f"ray: expected a worker within {START_SECONDS + FIRST_WORKER_SECONDS:g} s, got none; "
                "is the cluster busy or too small for --gpus-per-worker?"
            )
        for ping in ready:
            try:
                ray.get(ping)
            except RayActorError as error:
                raise UserError(f"ray: a worker could not start: {str(error).strip().splitlines()[-1]}") from error

    def _new(self) -> Any:
        return self._actor.remote(*self._arguments)

    @property
    def size(self) -> int:
        """Workers."""
        return self._size

    @property
    def free(self) -> int:
        """Idle workers."""
        return len(self._idle)

    def submit(self, spec: Spec) -> None:
        """Give `spec` to an idle worker."""
        self._start(spec, self._idle.pop(), 1)

    def _start(self, spec: Spec, worker: Any, tries: int) -> None:
        self._running[worker.perform.remote(spec)] = _Task(spec, worker, time.monotonic(), tries)

    def wait(self, timeout: float) -> list[Outcome]:
        """Outcomes ready within `timeout` seconds; dead and hung workers are replaced on the way.

        Raises:
            UserError: what a worker found wrong with the input.
        """
        done, _ = ray.wait(list(self._running), num_returns=1, timeout=timeout)
        found = [self._collect(reference) for reference in done]
        return [outcome for outcome in [*found, *self._hung()] if outcome is not None]

    def _collect(self, reference: ray.ObjectRef) -> Outcome | None:
        task = self._running.pop(reference)
        try:
            outcome = ray.get(reference)
        except RayActorError as error:
            return self._replace(task, f"worker died: {str(error).splitlines()[0]}")
        except RayError as error:
            self._idle.append(task.worker)
            return Failed(task.spec, f"{type(error).__name__}: {str(error).splitlines()[-1]}")
        self._idle.append(task.worker)
        if isinstance(outcome, UserError):
            raise outcome
        return outcome

    def _replace(self, task: _Task, why: str) -> Outcome | None:
        """Put a new worker in the place of the task's and do the spec again, a bounded number of times."""
        self.deaths += 1
        worker = self._new()
        if task.tries < MAX_TRIES:
            self._start(task.spec, worker, task.tries + 1)
            return None
        self._idle.append(worker)
        return Failed(task.spec, f"{why} ({task.tries} times)")

    def _hung(self) -> list[Outcome | None]:
        late = [r for r, task in self._running.items() if time.monotonic() - task.started > self._limit]
        found = []
        for reference in late:
            task = self._running.pop(reference)
            ray.kill(task.worker)
            found.append(self._replace(task, f"took longer than {self._limit:g} s"))
        return found

    def close(self) -> None:
        """Kill all workers."""
        for worker in [*self._idle, *(task.worker for task in self._running.values())]:
            ray.kill(worker)
        self._idle, self._running = [], {}
