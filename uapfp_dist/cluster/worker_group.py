"""The workers of a cluster whose nodes come and go: as many as it can hold, and some more asked for."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from uapfp_dist.cluster.resources import capacity
from uapfp_dist.cluster.worker import Perform, Worker
from uapfp_dist.errors import MismatchError, UserError

OPENING_SECONDS = 60.0
"""How long the first spec waits until a worker of every node stands."""
LOOK_SECONDS = 5.0
"""Between two looks at the cluster's nodes."""
PAUSE_SECONDS = 10.0
"""After a worker that could not start, or had to leave: its node may be broken, and is given the next one too."""
START_SECONDS = 600.0
"""How long a worker that has its place may take to stand: the first one on a node may have many images to decode."""
MOST_FAILURES = 3
"""Specs in a row that a worker may fail by errors that may pass: then they may pass elsewhere, not with it."""
SPARE = 8
"""Workers asked for beyond what the cluster holds: the demand that its autoscaler sees, and the first on a new node."""


@dataclass(eq=False)
class WorkerHandle:
    """A worker's place: asked for, idle or at work."""

    actor: Any
    share: float
    """Of a GPU."""
    name: str = ""
    node: str = ""
    placed_at: float = 0.0
    """When it had its place."""
    failures: int = 0
    """In a row, by errors that may pass."""


@dataclass
class WorkerGroup:
    """Worker actors. Those that do not fit are pending: that is the demand which an autoscaler sees.

    Args:
        opening: makes what performs specs, in the worker; proves there that the node sees storage and data.
        most: workers at most; None: as many as there is room for.
        elastic: nodes may join.
        say: told what a person may want to know.
    """

    opening: Callable[[], Perform]
    most: int | None
    elastic: bool
    say: Callable[[str], None]
    starting: dict[ray.ObjectRef, WorkerHandle] = field(default_factory=dict)
    """Asked for; the reference is ready when the worker has a place, and then another one when it stands."""
    idle: dict[float, list[WorkerHandle]] = field(default_factory=dict)
    """By share."""
    busy: set[WorkerHandle] = field(default_factory=set)
    last_error: str = ""
    """Why a worker could not start, until another one does."""
    _refused: list[WorkerHandle] = field(default_factory=list)
    # Kept alive: each holds its place on a node that does not see the storage, so that no other worker lands there.
    _room: dict[str, int] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)
    _looked: float = 0.0
    _paused_until: float = 0.0
    _open: bool = False
    _actor: Any = field(default_factory=lambda: ray.remote(Worker))

    @property
    def size(self) -> int:
        """Workers that stand."""
        return len(self.busy) + sum(map(len, self.idle.values()))

    def scale(self, waiting: Mapping[float, int]) -> None:
        """Ask for workers as there is work for them, up to the limit; at the beginning, for all that fit.

        Args:
            waiting: share of a GPU to the specs that wait for a worker of that share.
        """
        now = time.monotonic()
        self._end_hung(now)
        if waiting and now - self._looked > LOOK_SECONDS:
            self._looked = now
            self._look(capacity(min(waiting)))
        if now < self._paused_until:
            return
        self._make_room(waiting)
        fitting = sum(self._room.values())
        room = self.most if self.most is not None else fitting + SPARE * self.elastic
        room -= self.size + len(self.starting)
        for share in sorted(waiting, reverse=True):
            room -= self._ask(share, min(room, waiting[share] - self._unused(share)))
        if waiting and not self._open:
            self._ask(max(waiting), min(room, fitting - len(self.starting) - self.size))

    def _look(self, room: dict[str, int]) -> None:
        """Take note of the nodes there are; the idle on others are gone."""
        self._room = room
        for share, seats in self.idle.items():
            self.idle[share] = [seat for seat in seats if seat.node in room]

    def _ask(self, share: float, n: int) -> int:
        for _ in range(n):
            actor = self._actor.options(num_cpus=1, num_gpus=share, max_restarts=0)
            seat = WorkerHandle(actor.remote(self.opening), share)
            self.starting[seat.actor.place.remote()] = seat
        return max(0, n)

    def _unused(self, share: float) -> int:
        return len(self.idle.get(share, ())) + sum(seat.share == share for seat in self.starting.values())

    def _make_room(self, waiting: Mapping[float, int]) -> None:
        """Workers of a share that nothing waits for leave where specs of another share have none to go to."""
        short = any(n > len(self.idle.get(share, ())) for share, n in waiting.items())
        if not short or not self._open:
            return
        for share in set(self.idle) - set(waiting):
            for seat in self.idle.pop(share):
                ray.kill(seat.actor)
        for reference in [r for r, seat in self.starting.items() if seat.share not in waiting]:
            ray.kill(self.starting.pop(reference).actor)

    def is_open(self) -> bool:
        """Whether work may begin: workers of all nodes have proven what they see, or a minute has passed."""
        if not self._open and self.size:
            here = {seat.node for seats in self.idle.values() for seat in seats}
            late = time.monotonic() - self._begun > OPENING_SECONDS
            self._open = late or not self.starting or here >= set(self._room)
        return self._open

    def acquire(self, share: float, shunned: Collection[str] = ()) -> WorkerHandle | None:
        """An idle worker, which is busy from now on; on none of the nodes `shunned` unless there are no others."""
        seats = self.idle.get(share, [])
        fit = [seat for seat in seats if seat.node not in shunned] if shunned else seats
        if not fit and not any(seat.share == share and seat.node not in shunned for seat in self.busy):
            fit = seats
        if not fit:
            return None
        seat = fit[-1]
        seats.remove(seat)
        self.busy.add(seat)
        return seat

    def release(self, seat: WorkerHandle, failed: bool = False) -> None:
        """A worker that `take` gave is idle again; one that fails spec after spec by what may pass has to leave."""
        seat.failures = seat.failures + 1 if failed else 0
        if seat.failures >= MOST_FAILURES:
            self.say(f"ray: worker {seat.name} has to leave: {seat.failures} specs in a row failed there")
            self.discard(seat, pause=True)
            return
        self.busy.remove(seat)
        self.idle.setdefault(seat.share, []).append(seat)

    def discard(self, seat: WorkerHandle, pause: bool = False) -> None:
        """A worker that `take` gave is of no more use; dead, hung, broken or out of reach.

        Args:
            seat: the worker's.
            pause: the next one is asked for after a pause.
        """
        self.busy.remove(seat)
        if pause:
            self._pause()
        ray.kill(seat.actor)

    def on_started(self, reference: ray.ObjectRef) -> None:
        """A worker that was asked for has a place, stands, or says why not.

        Raises:
            UserError: before any work: it does not see what the driver sees, or cannot start at all.
        """
        seat = self.starting.pop(reference)
        try:
            found = ray.get(reference)
        except RayError as error:
            if not self._open and getattr(error, "actor_init_failed", False):
                raise UserError(f"ray: expected a worker to start, it could not: {_cause(error)}") from error
            self._not_started(seat, _cause(error))
            return
        if isinstance(found, UserError) and not self._open:
            raise found
        if isinstance(found, MismatchError):
            self._refuse(seat, found)
        elif isinstance(found, UserError):  # such as a storage that is away for a while
            self._not_started(seat, str(found))
        elif not seat.node:
            seat.name, seat.node = found
            seat.placed_at = time.monotonic()
            self.starting[seat.actor.start.remote()] = seat
        else:
            self._stands(seat)

    def _stands(self, seat: WorkerHandle) -> None:
        self.last_error = ""
        self.idle.setdefault(seat.share, []).append(seat)
        if self._open:
            self.say(f"ray: worker {seat.name} has joined; {self.size} at work")

    def _not_started(self, seat: WorkerHandle, cause: str) -> None:
        self.last_error = cause
        if time.monotonic() >= self._paused_until:  # of many that fail together, one is told of
            self.say(f"ray: a worker could not start: {cause}")
        self._pause()
        ray.kill(seat.actor)

    def _end_hung(self, now: float) -> None:
        """Those that are still pending may take as long as machines take to come."""
        hung = [r for r, seat in self.starting.items() if seat.node and now - seat.placed_at > START_SECONDS]
        for seat in map(self.starting.pop, hung):
            self._not_started(seat, f"{seat.name} took longer than {START_SECONDS:g} s")

    def _pause(self) -> None:
        self._paused_until = time.monotonic() + PAUSE_SECONDS

    def _refuse(self, seat: WorkerHandle, error: MismatchError) -> None:
        """A node that joins later is left out rather than the end of everything."""
        self._refused.append(seat)
        self.say(f"ray: left out: {error}")

    def close(self) -> None:
        """Kill all that are not busy."""
        idle = [seat for seats in self.idle.values() for seat in seats]
        for seat in [*idle, *self.starting.values(), *self._refused]:
            ray.kill(seat.actor)
        for held in (self.idle, self.starting, self._refused):
            held.clear()


def _cause(error: RayError) -> str:
    """In one line: a task's traceback says it last, Ray's own errors at the greatest length."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return (lines[-1] if isinstance(error, RayTaskError) else max(lines, key=len))[:200]
