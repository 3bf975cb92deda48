"""Specs on Ray actors. Nothing is held in a worker: any may be lost, and its spec is done again."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import ray
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayError

from uapfp_dist.cluster.central_actor import DEATHS
from uapfp_dist.cluster.worker import Perform
from uapfp_dist.cluster.worker_group import WorkerGroup, WorkerHandle
from uapfp_dist.errors import UserError
from uapfp_dist.progress import Progress
from uapfp_dist.tasks.executor import DETAIL_LINES
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.outcomes import Failed, Outcome

PATIENCE_SECONDS = 1800.0
"""How long work waits while nothing is done: machines take minutes to start, spot capacity longer to come back."""
MAX_TRIES = 3
"""Workers that may die over one spec, or errors that may pass, each on another node, before it counts as failed."""
REST_SECONDS = 20.0
"""Before another try after an error that may pass: storage or memory may need a while."""
MAX_LOSSES = 10
"""Nodes that may be lost under one spec: not its fault, but one that brings nodes down must come to an end."""


@dataclass
class _Task:
    spec: Spec
    share: float
    limit: float
    tries: int = 0
    losses: int = 0
    seat: WorkerHandle | None = None
    started: float = field(default=0.0)
    shunned: set[str] = field(default_factory=set)
    """Nodes on which it was tried in vain."""


class RayPool:
    """Worker actors that come and go with the nodes, each pinned to its share of a GPU or to one CPU.

    Args:
        opening: makes what performs specs, in the worker; proves there that the node sees storage and data.
        share: the share of a GPU that a spec's worker wants (1, a fraction, a whole number, or 0 for the CPU).
        limit: the seconds after which a spec counts as hung; its worker is replaced.
        most: workers at most; None: as many as there is room for.
        elastic: nodes may join.
        progress: told of workers that come and go.
    """

    def __init__(
        self,
        opening: Callable[[], Perform],
        share: Callable[[Spec], float],
        limit: Callable[[Spec], float],
        most: int | None = None,
        elastic: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self._share, self._limit = share, limit
        self._progress = progress or Progress(workers=0)
        self._crew = WorkerGroup(opening, most, elastic, self._progress.say)
        self._queues: dict[float, deque[_Task]] = {}
        self._running: dict[ray.ObjectRef, _Task] = {}
        self._resting: deque[tuple[float, _Task]] = deque()  # with the time at which each is queued again
        self._last_alive = time.monotonic()
        self.deaths = 0
        """Workers lost so far."""

    @property
    def size(self) -> int:
        """Workers that stand."""
        return self._crew.size

    def in_work(self) -> list[tuple[str, Spec, float]]:
        """(worker, spec, seconds so far) of all that is being done."""
        now = time.monotonic()
        return [(task.seat.name, task.spec, now - task.started) for task in self._running.values() if task.seat]

    def submit(self, spec: Spec) -> None:
        """Queue `spec`; it starts with the next `wait` that has a worker for it."""
        self._queue(_Task(spec, self._share(spec), self._limit(spec)))

    def _queue(self, task: _Task) -> None:
        self._queues.setdefault(task.share, deque()).append(task)

    def wait(self, timeout: float) -> list[Outcome]:
        """Outcomes ready within `timeout` seconds; workers come, go and are replaced on the way.

        Raises:
            UserError: what a worker found wrong with storage, data or the input; half an hour without a worker.
        """
        while self._resting and self._resting[0][0] <= time.monotonic():
            self._queue(self._resting.popleft()[1])
        self._crew.scale({share: len(queue) for share, queue in self._queues.items() if queue})
        self._assign()
        self._check_patience()
        pending = [*self._crew.starting, *self._running]
        if not pending:  # the next worker is asked for after a pause
            time.sleep(timeout)
            return []
        done, _ = ray.wait(pending, num_returns=1, timeout=timeout)
        found = [outcome for reference in done for outcome in self._collect(reference)]
        found += [outcome for reference in self._hung() for outcome in self._late(reference)]
        self._assign()  # nobody idles while the outcomes are looked at
        self._progress.workers = max(self._progress.workers, self.size)
        return found

    def _assign(self) -> None:
        if not self._crew.is_open():
            return
        for share, queue in self._queues.items():
            kept: list[_Task] = []
            while queue and self._crew.idle.get(share):
                task = queue.popleft()
                if seat := self._crew.acquire(share, task.shunned):
                    task.seat, task.started = seat, time.monotonic()
                    self._running[seat.actor.perform.remote(task.spec)] = task
                else:  # it waits for a worker elsewhere; those behind it need not
                    kept.append(task)
            queue.extendleft(reversed(kept))

    def _check_patience(self) -> None:
        now = time.monotonic()
        if self._running or not any(self._queues.values()):
            self._last_alive = now
        elif now - self._last_alive > PATIENCE_SECONDS:
            trouble = self._crew.last_error and f" (one could not start: {self._crew.last_error})"
            raise UserError(
                f"ray: expected a worker within {PATIENCE_SECONDS:g} s, got none{trouble}; is the cluster busy, or too "
                "small for --gpus-per-worker? the same command resumes"
            )

    def _collect(self, reference: ray.ObjectRef) -> Iterator[Outcome]:
        if reference in self._crew.starting:
            self._crew.on_started(reference)
            return
        task = self._running.pop(reference)
        assert task.seat is not None
        try:
            outcome = ray.get(reference)
        except DEATHS as error:
            yield from self._died(task, error)
            return
        except RayError as error:
            outcome = Failed(task.spec, f"{type(error).__name__}: {str(error).splitlines()[-1]}")
        if isinstance(outcome, Failed) and outcome.worker_broken:
            task.tries += 1
            yield from self._replaced(task, outcome.error, outcome.details, pause=True)
            return
        passing = isinstance(outcome, Failed) and outcome.transient
        self._crew.release(task.seat, failed=passing)
        if isinstance(outcome, UserError):
            raise outcome
        if isinstance(outcome, Failed) and passing:
            task.tries += 1
            yield from self._again(task, outcome, REST_SECONDS)
        else:
            yield outcome

    def _died(self, task: _Task, error: RayError) -> Iterator[Outcome]:
        """A worker was lost over its spec, or a node under both."""
        if _is_loss_of_node(error):
            task.losses += 1
            why = "its node was lost"
        else:
            task.tries += 1
            memory = isinstance(error, OutOfMemoryError)
            why = "Ray killed it, its node ran out of memory" if memory else "its process ended"
        details = "\n".join(str(error).strip().splitlines()[:DETAIL_LINES])
        yield from self._replaced(task, f"worker died: {why}", details)

    def _hung(self) -> list[ray.ObjectRef]:
        return [r for r, task in self._running.items() if time.monotonic() - task.started > task.limit]

    def _late(self, reference: ray.ObjectRef) -> Iterator[Outcome]:
        task = self._running.pop(reference)
        task.tries += 1
        yield from self._replaced(task, f"took longer than {task.limit:g} s", "")

    def _replaced(self, task: _Task, why: str, details: str, pause: bool = False) -> Iterator[Outcome]:
        self.deaths += 1
        assert task.seat is not None
        self._crew.discard(task.seat, pause)
        self._progress.say(f"ray: worker {task.seat.name} lost ({task.spec.kind} {task.spec.id}): {why}")
        yield from self._again(task, Failed(task.spec, why, details=details))

    def _again(self, task: _Task, failed: Failed, rest: float = 0.0) -> Iterator[Outcome]:
        """Queue the task once more, in `rest` seconds, for another node, a bounded number of times."""
        assert task.seat is not None
        task.shunned.add(task.seat.node)
        if task.tries < MAX_TRIES and task.losses < MAX_LOSSES:
            if rest:
                self._resting.append((time.monotonic() + rest, task))
            else:
                self._queue(task)
        else:
            yield replace(failed, error=f"{failed.error} ({task.tries + task.losses} times)")

    def close(self) -> None:
        """Kill all workers."""
        for task in self._running.values():
            assert task.seat is not None
            self._crew.discard(task.seat)
        self._running.clear()
        self._queues.clear()
        self._resting.clear()
        self._crew.close()


def _is_loss_of_node(error: RayError) -> bool:
    """Ray has no type for it: an actor out of reach is on a node that is about to be declared dead."""
    text = str(error)
    return isinstance(error, ActorUnavailableError) or "node has died" in text or "node was terminated" in text
