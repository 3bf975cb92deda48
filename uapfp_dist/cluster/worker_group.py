"""The workers of a cluster whose nodes come and go: as many as it can hold, and some more requested."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from uapfp_dist.cluster.capacity import capacity
from uapfp_dist.cluster.worker import Perform, Worker
from uapfp_dist.errors import MismatchError, UserError

OPENING_SECONDS = 60.0
"""How long the first spec waits for a worker on every node."""
REFRESH_SECONDS = 5.0
"""Between two readings of the cluster's nodes."""
PAUSE_SECONDS = 10.0
"""After a worker that could not start, or was removed: its node may be broken, and would get the next one too."""
START_SECONDS = 600.0
"""How long a worker that is placed may take to start, unless more is known to be needed: the first one on a node may
have many images to decode."""
MAX_FAILURES = 3
"""Transient failures in a row that a worker may have: then they may pass elsewhere, not with it."""
SPARE_WORKERS = 8
"""Requested beyond what the cluster holds: the demand that its autoscaler sees, and the first on a new node."""


@dataclass(eq=False)
class WorkerHandle:
    """A worker: requested, idle or busy."""

    actor: Any
    share: float
    """Of a GPU."""
    name: str = ""
    node: str = ""
    """Empty until it is placed."""
    placed_at: float = 0.0
    failures: int = 0
    """Transient ones in a row."""


@dataclass
class WorkerGroup:
    """Worker actors. Those that do not fit are pending: the demand that an autoscaler sees.

    Args:
        make_perform: makes what performs specs, in the worker; proves there that the node sees storage and data.
        most: workers at most; None: as many as there is room for.
        elastic: nodes may join.
        say: shows a message to a person.
        start_seconds: after which a worker that is placed and has not started counts as hung.
    """

    make_perform: Callable[[], Perform]
    most: int | None
    elastic: bool
    say: Callable[[str], None]
    start_seconds: float = START_SECONDS
    starting: dict[ray.ObjectRef, WorkerHandle] = field(default_factory=dict)
    """Requested ones; the ref is ready when the worker is placed, and then another one when it has started."""
    idle: dict[float, list[WorkerHandle]] = field(default_factory=dict)
    """By share."""
    busy: set[WorkerHandle] = field(default_factory=set)
    last_error: str = ""
    """Why a worker could not start, until another one does."""
    _refused: list[WorkerHandle] = field(default_factory=list)
    # Kept alive: each occupies a node that does not see the storage, so that no other worker is placed there.
    _in_turn: set[str] = field(default_factory=set)
    """Nodes of which it was said that processes have their GPU in turn."""
    _capacity: dict[str, int] = field(default_factory=dict)
    _created_at: float = field(default_factory=time.monotonic)
    _refreshed_at: float = 0.0
    _paused_until: float = 0.0
    _open: bool = False
    _actor: Any = field(default_factory=lambda: ray.remote(Worker))

    @property
    def size(self) -> int:
        """Workers that have started."""
        return len(self.busy) + sum(map(len, self.idle.values()))

    def scale(self, waiting: Mapping[float, int]) -> None:
        """Request workers as there is work for them, up to the limit; at the beginning, all that fit.

        Args:
            waiting: share of a GPU to the number of specs that wait for a worker of that share.
        """
        now = time.monotonic()
        self._end_hung(now)
        if waiting and now - self._refreshed_at > REFRESH_SECONDS:
            self._refreshed_at = now
            self._refresh(capacity(min(waiting)))
        if now < self._paused_until:
            return
        self._make_room(waiting)
        fitting = sum(self._capacity.values())
        room = self.most if self.most is not None else fitting + SPARE_WORKERS * self.elastic
        room -= self.size + len(self.starting)
        for share in sorted(waiting, reverse=True):
            room -= self._request(share, min(room, waiting[share] - self._unused(share)))
        if waiting and not self._open:
            self._request(max(waiting), min(room, fitting - len(self.starting) - self.size))

    def _refresh(self, capacity: dict[str, int]) -> None:
        """Take note of the nodes there are; idle workers on others are gone."""
        self._capacity = capacity
        for share, workers in self.idle.items():
            self.idle[share] = [worker for worker in workers if worker.node in capacity]

    def _request(self, share: float, n: int) -> int:
        for _ in range(n):
            actor = self._actor.options(num_cpus=1, num_gpus=share, max_restarts=0)
            worker = WorkerHandle(actor.remote(self.make_perform), share)
            self.starting[worker.actor.place.remote()] = worker
        return max(0, n)

    def _unused(self, share: float) -> int:
        return len(self.idle.get(share, ())) + sum(worker.share == share for worker in self.starting.values())

    def _make_room(self, waiting: Mapping[float, int]) -> None:
        """End workers of a share that nothing waits for, where specs of another share find no worker."""
        lacking = any(n > len(self.idle.get(share, ())) for share, n in waiting.items())
        if not lacking or not self._open:
            return
        for share in set(self.idle) - set(waiting):
            for worker in self.idle.pop(share):
                ray.kill(worker.actor)
        for ref in [r for r, worker in self.starting.items() if worker.share not in waiting]:
            ray.kill(self.starting.pop(ref).actor)

    def is_open(self) -> bool:
        """Whether work may begin: a worker of every node has proven what it sees, or a minute has passed."""
        if not self._open and self.size:
            nodes = {worker.node for workers in self.idle.values() for worker in workers}
            late = time.monotonic() - self._created_at > OPENING_SECONDS
            self._open = late or not self.starting or nodes >= set(self._capacity)
        return self._open

    def acquire(self, share: float, excluded_nodes: Collection[str]) -> WorkerHandle | None:
        """An idle worker, which is busy from now on; on none of `excluded_nodes` unless there are no others."""
        idle = self.idle.get(share, [])
        fit = [worker for worker in idle if worker.node not in excluded_nodes] if excluded_nodes else idle
        if not fit and not any(worker.share == share and worker.node not in excluded_nodes for worker in self.busy):
            fit = idle
        if not fit:
            return None
        worker = fit[-1]
        idle.remove(worker)
        self.busy.add(worker)
        return worker

    def release(self, worker: WorkerHandle, failed: bool = False) -> None:
        """An acquired worker is idle again; one with `MAX_FAILURES` transient failures in a row is discarded."""
        worker.failures = worker.failures + 1 if failed else 0
        if worker.failures >= MAX_FAILURES:
            self.say(f"ray: worker {worker.name} is removed: {worker.failures} specs in a row failed there")
            self.discard(worker, pause=True)
            return
        self.busy.remove(worker)
        self.idle.setdefault(worker.share, []).append(worker)

    def discard(self, worker: WorkerHandle, pause: bool = False) -> None:
        """End an acquired worker that cannot be used again: dead, hung, broken or out of reach.

        Args:
            worker: which.
            pause: the next one is requested after a pause.
        """
        self.busy.remove(worker)
        if pause:
            self._pause()
        ray.kill(worker.actor)

    def on_started(self, ref: ray.ObjectRef) -> None:
        """A requested worker is placed, has started, or says why not.

        Raises:
            UserError: before any work: it does not see what the driver sees, or cannot start at all.
        """
        worker = self.starting.pop(ref)
        try:
            found = ray.get(ref)
        except RayError as error:
            if not self._open and getattr(error, "actor_init_failed", False):
                raise UserError(f"ray: expected a worker to start, it could not: {_cause(error)}") from error
            self._not_started(worker, _cause(error))
            return
        if isinstance(found, UserError) and not self._open:
            raise found
        if isinstance(found, MismatchError):
            self._refuse(worker, found)
        elif isinstance(found, UserError):  # such as an outage of the storage
            self._not_started(worker, str(found))
        elif not worker.node:
            worker.name, worker.node, in_turn = found
            worker.placed_at = time.monotonic()
            self._tell_in_turn(worker, in_turn)
            self.starting[worker.actor.start.remote()] = worker
        else:
            self._started(worker)

    def _tell_in_turn(self, worker: WorkerHandle, in_turn: bool) -> None:
        """Once for every node of a cluster; a Ray of the job's own has said it."""
        if in_turn and self.elastic and 0 < worker.share < 1 and worker.node not in self._in_turn:
            self._in_turn.add(worker.node)
            self.say(
                f"ray: worker {worker.name} shares its GPU in turn, its node has no MPS: nvidia-cuda-mps-control -d "
                "before ray start"
            )

    def _started(self, worker: WorkerHandle) -> None:
        self.last_error = ""
        self.idle.setdefault(worker.share, []).append(worker)
        if self._open:
            self.say(f"ray: worker {worker.name} has joined; {self.size} at work")

    def _not_started(self, worker: WorkerHandle, cause: str) -> None:
        self.last_error = cause
        if time.monotonic() >= self._paused_until:  # of many that fail together, one is reported
            self.say(f"ray: a worker could not start: {cause}")
        self._pause()
        ray.kill(worker.actor)

    def _end_hung(self, now: float) -> None:
        """Of those that are placed: pending ones may take as long as machines take to come."""
        limit = self.start_seconds
        hung = [r for r, worker in self.starting.items() if worker.node and now - worker.placed_at > limit]
        for worker in map(self.starting.pop, hung):
            self._not_started(worker, f"{worker.name} took longer than {limit:g} s")

    def _pause(self) -> None:
        self._paused_until = time.monotonic() + PAUSE_SECONDS

    def _refuse(self, worker: WorkerHandle, error: MismatchError) -> None:
        """Leave out a node that joins later, rather than end the job."""
        self._refused.append(worker)
        self.say(f"ray: left out: {error}")

    def close(self) -> None:
        """End all that are not busy."""
        idle = [worker for workers in self.idle.values() for worker in workers]
        for worker in [*idle, *self.starting.values(), *self._refused]:
            ray.kill(worker.actor)
        for container in (self.idle, self.starting, self._refused):
            container.clear()


def _cause(error: RayError) -> str:
    """In one line: the last one of a task's traceback, the longest one of Ray's own errors."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return (lines[-1] if isinstance(error, RayTaskError) else max(lines, key=len))[:200]
