"""Specs on Ray actors. No state is kept in a worker: any may be lost, and its spec is done again."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import ray
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayError

from uapfp_dist.cluster.central_actor import DEATHS
from uapfp_dist.cluster.worker import Perform
from uapfp_dist.cluster.worker_group import START_SECONDS, WorkerGroup, WorkerHandle
from uapfp_dist.errors import UserError
from uapfp_dist.progress import Progress
from uapfp_dist.tasks.executor import DETAIL_LINES
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.outcomes import Failed, Outcome

PATIENCE_SECONDS = 1800.0
"""How long specs wait while none is performed: machines take minutes to start, spot capacity longer to come back.
With workers that need longer than `START_SECONDS` to start, so much longer for each of three."""
MAX_TRIES = 3
"""Deaths of workers or transient errors over one spec, each on another node, before it counts as failed."""
RETRY_SECONDS = 20.0
"""Before another try after a transient error: storage or memory may need a while."""
MAX_LOSSES = 10
"""Nodes that may be lost under one spec: not its fault, but one that brings nodes down must not go on for ever."""


@dataclass
class _Task:
    spec: Spec
    share: float
    limit: float
    tries: int = 0
    losses: int = 0
    alone: bool = False
    """A GPU ran out of memory under it: it is tried once more with a whole one to itself."""
    worker: WorkerHandle | None = None
    started: float = 0.0
    excluded_nodes: set[str] = field(default_factory=set)
    """Nodes on which it has failed."""


class RayPool:
    """Worker actors that come and go with the nodes, each pinned to its share of a GPU or to one CPU.

    Args:
        make_perform: makes what performs specs, in the worker; proves there that the node sees storage and data.
        share: the share of a GPU for a spec's worker (1, a fraction, a whole number, or 0 for the CPU).
        limit: the seconds after which a spec counts as hung; its worker is replaced.
        most: workers at most; None: as many as there is room for.
        elastic: nodes may join.
        progress: shows workers that come and go.
        start_seconds: after which a worker that is placed and has not started counts as hung.
    """

    def __init__(
        self,
        make_perform: Callable[[], Perform],
        share: Callable[[Spec], float],
        limit: Callable[[Spec], float],
        most: int | None = None,
        elastic: bool = False,
        progress: Progress | None = None,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self._share, self._limit = share, limit
        self._progress = progress or Progress(workers=0)
        self._workers = WorkerGroup(make_perform, most, elastic, self._progress.say, start_seconds)
        self._queues: dict[float, deque[_Task]] = {}
        self._running: dict[ray.ObjectRef, _Task] = {}
        self._delayed: deque[tuple[float, _Task]] = deque()  # with the time at which each is queued again
        self._last_active = time.monotonic()
        self.deaths = 0
        """Workers lost so far."""

    @property
    def size(self) -> int:
        """Workers that have started."""
        return self._workers.size

    def in_work(self) -> list[tuple[str, Spec, float]]:
        """(worker, spec, seconds so far) of all specs in work."""
        now = time.monotonic()
        return [(task.worker.name, task.spec, now - task.started) for task in self._running.values() if task.worker]

    def submit(self, spec: Spec) -> None:
        """Queue `spec`; it starts with the next `wait` that has a worker for it."""
        self._queue(_Task(spec, self._share(spec), self._limit(spec)))

    def _queue(self, task: _Task) -> None:
        self._queues.setdefault(task.share, deque()).append(task)

    def wait(self, timeout: float) -> list[Outcome]:
        """Outcomes ready within `timeout` seconds; workers come, go and are replaced on the way.

        Raises:
            UserError: what a worker found wrong with storage, data or the input; no worker for half an hour.
        """
        while self._delayed and self._delayed[0][0] <= time.monotonic():
            self._queue(self._delayed.popleft()[1])
        self._workers.scale({share: len(queue) for share, queue in self._queues.items() if queue})
        self._assign()
        self._check_patience()
        pending = [*self._workers.starting, *self._running]
        if not pending:  # the next worker is requested after a pause
            time.sleep(timeout)
            return []
        done, _ = ray.wait(pending, num_returns=1, timeout=timeout)
        found = [outcome for ref in done for outcome in self._collect(ref)]
        found += [outcome for ref in self._hung() for outcome in self._timed_out(ref)]
        self._assign()  # no worker idles while the caller handles the outcomes
        self._progress.workers = max(self._progress.workers, self.size)
        return found

    def _assign(self) -> None:
        if not self._workers.is_open():
            return
        for share, queue in self._queues.items():
            kept: list[_Task] = []
            while queue and self._workers.idle.get(share):
                task = queue.popleft()
                if worker := self._workers.acquire(share, task.excluded_nodes):
                    task.worker, task.started = worker, time.monotonic()
                    name = f"Worker.perform {task.spec.kind} {task.spec.id}"  # in Ray's dashboard
                    perform = worker.actor.perform.options(name=name)
                    self._running[perform.remote(task.spec)] = task
                else:  # it waits for a worker elsewhere; those behind it need not
                    kept.append(task)
            queue.extendleft(reversed(kept))

    def _check_patience(self) -> None:
        now = time.monotonic()
        patience = PATIENCE_SECONDS + 3 * (self._workers.start_seconds - START_SECONDS)
        if self._running or not any(self._queues.values()):
            self._last_active = now
        elif now - self._last_active > patience:
            cause = self._workers.last_error and f" (one could not start: {self._workers.last_error})"
            raise UserError(
                f"ray: expected a worker within {patience:g} s, got none{cause}; is the cluster busy, or too "
                "small for such a worker? the same command resumes",
                argument="gpus_per_worker",
            )

    def _collect(self, ref: ray.ObjectRef) -> Iterator[Outcome]:
        if ref in self._workers.starting:
            self._workers.on_started(ref)
            return
        task = self._running.pop(ref)
        assert task.worker is not None
        try:
            outcome = ray.get(ref)
        except DEATHS as error:
            yield from self._died(task, error)
            return
        except RayError as error:
            outcome = Failed(task.spec, f"{type(error).__name__}: {str(error).splitlines()[-1]}")
        if isinstance(outcome, Failed) and outcome.worker_broken:
            task.tries += 1
            yield from self._replaced(task, outcome.error, outcome.details, pause=True)
            return
        if isinstance(outcome, Failed) and outcome.gpu_full:
            yield from self._gpu_full(task, outcome)
            return
        transient = isinstance(outcome, Failed) and outcome.transient
        self._workers.release(task.worker, failed=transient)
        if isinstance(outcome, UserError):
            raise outcome
        if isinstance(outcome, Failed) and transient:
            task.tries += 1
            yield from self._retry(task, outcome, RETRY_SECONDS)
        else:
            yield outcome

    def _died(self, task: _Task, error: RayError) -> Iterator[Outcome]:
        """A worker died over its spec, or its node was lost."""
        if _is_loss_of_node(error):
            task.losses += 1
            why = "its node was lost"
        else:
            task.tries += 1
            memory = isinstance(error, OutOfMemoryError)
            why = "Ray killed it, its node ran out of memory" if memory else "its process ended"
        details = "\n".join(str(error).strip().splitlines()[:DETAIL_LINES])
        yield from self._replaced(task, f"worker died: {why}", details)

    def _gpu_full(self, task: _Task, failed: Failed) -> Iterator[Outcome]:
        """Once more, in a new process that has a GPU to itself; then it is reported with what it needed."""
        assert task.worker is not None
        if task.alone:
            self._workers.release(task.worker)
            yield replace(failed, error=f"{failed.error}; alone on a GPU")
            return
        self._progress.say(f"ray: {task.spec.kind} {task.spec.id}: {failed.error}; it is tried again alone on a GPU")
        self._workers.discard(task.worker)  # its process keeps what it has cached
        task.alone, task.share = True, max(task.share, 1.0) if task.share else 0.0
        self._queue(task)

    def _hung(self) -> list[ray.ObjectRef]:
        return [r for r, task in self._running.items() if time.monotonic() - task.started > task.limit]

    def _timed_out(self, ref: ray.ObjectRef) -> Iterator[Outcome]:
        task = self._running.pop(ref)
        task.tries += 1
        yield from self._replaced(task, f"took longer than {task.limit:g} s", "")

    def _replaced(self, task: _Task, why: str, details: str, pause: bool = False) -> Iterator[Outcome]:
        self.deaths += 1
        assert task.worker is not None
        self._workers.discard(task.worker, pause)
        self._progress.say(f"ray: worker {task.worker.name} lost ({task.spec.kind} {task.spec.id}): {why}")
        yield from self._retry(task, Failed(task.spec, why, details=details))

    def _retry(self, task: _Task, failed: Failed, delay: float = 0.0) -> Iterator[Outcome]:
        """Queue the task once more, in `delay` seconds, for another node, a bounded number of times."""
        assert task.worker is not None
        task.excluded_nodes.add(task.worker.node)
        if task.tries < MAX_TRIES and task.losses < MAX_LOSSES:
            if delay:
                self._delayed.append((time.monotonic() + delay, task))
            else:
                self._queue(task)
        else:
            yield replace(failed, error=f"{failed.error} ({task.tries + task.losses} times)")

    def close(self) -> None:
        """End all workers."""
        for task in self._running.values():
            assert task.worker is not None
            self._workers.discard(task.worker)
        self._running.clear()
        self._queues.clear()
        self._delayed.clear()
        self._workers.close()


def _is_loss_of_node(error: RayError) -> bool:
    """Ray has no type for it; an actor out of reach is on a node that is about to be declared dead."""
    text = str(error)
    return isinstance(error, ActorUnavailableError) or "node has died" in text or "node was terminated" in text
