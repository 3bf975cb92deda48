"""Central actors: objects in a process on the driver's node, each replaced when its process dies."""

import contextlib
import os
import time
import traceback
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import ray
from ray.exceptions import (
    ActorUnavailableError,
    GetTimeoutError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from uapfp_dist.errors import MismatchError, UserError
from uapfp_dist.messages import one_line
from uapfp_dist.progress import Progress

DEATHS = (RayActorError, OutOfMemoryError)
"""What a call to an actor that is dead or out of reach raises; the second is no subclass of the first."""
MAX_REPLACEMENTS = 3
"""Of one central actor: its node may be lost, as any other."""
POLL_SECONDS = 1.0
BEGIN_SECONDS, PROGRESS_SECONDS, CLOSE_SECONDS = 300.0, 60.0, 5.0
BATCH_CALLS, BATCH_SECONDS = 500, 1.0
"""Calls that travel together at most, and how long the first of them waits for others: each journey costs 20 kB."""
GPU_SECONDS = 60.0
"""For which a free GPU is waited for: workers that have ended give theirs back within seconds."""

P = ParamSpec("P")
R = TypeVar("R")
Call = tuple[str, tuple[Any, ...]]
"""(name of a method, its arguments)."""


class _Host:
    """The process: builds the object there and runs its methods, one after the other. A user's error is a value."""

    def __init__(self, factory: Callable[[], Any]) -> None:
        self._factory = factory
        self._object: Any = None

    def call(self, name: str, *arguments: Any) -> Any:
        """`<object>.<name>(*arguments)`."""
        try:
            if self._object is None:
                self._object = self._factory()
            return getattr(self._object, name)(*arguments)
        except MismatchError as error:
            return MismatchError(f"node {os.uname().nodename}: {error}", argument=error.argument)
        except UserError as error:
            return error

    def call_each(self, calls: Sequence[Call]) -> list[UserError | str]:
        """Several calls, each whatever became of those before it; returns what went wrong."""
        wrong: list[UserError | str] = []
        for name, arguments in calls:
            try:
                result = self.call(name, *arguments)
            except Exception as error:
                wrong.append(traceback.format_exception_only(error)[-1].strip())
            else:
                wrong += [result] if isinstance(result, UserError) else []
        return wrong

    @ray.method(concurrency_group="watch")
    def progress(self) -> tuple[int, int] | None:
        """`<object>.progress()`, also while `call` is at work; None before there is an object."""
        return None if self._object is None else self._object.progress()


class CentralActor:
    """The proxy of an object in an actor, which alone writes to the tracker: at most one is alive at a time.

    The object has the methods `begin`, `progress`, `publish` and `close`. Its state must follow from the store and from
    the calls that are replayed, in their order, when it is replaced.

    Args:
        name: of the object, for messages.
        factory: builds it, in the actor; raises `MismatchError` where the driver's storage is not seen.
        progress: shows messages and, as `stage`, what the object has done.
        stage: of the progress.
    """

    def __init__(self, name: str, factory: Callable[[], object], progress: Progress, stage: str) -> None:
        self._factory, self._name, self._progress, self._stage = factory, name, progress, stage
        self._drivers_node = ray.get_runtime_context().get_node_id()
        self._replacements = 0
        self._replayed: list[Call] = []
        """Calls that are made again in every new actor, in their order."""
        self._n_sent = 0
        """How many of them the present actor was sent."""
        self._sent_at = 0.0
        self._pending: list[ray.ObjectRef] = []
        self._notified: ray.ObjectRef | None = None
        self.handle = self._start(0.0)
        """Ray's handle, by which other processes call the object."""
        self.handle.call.remote("progress")  # imports the tracker's libraries while the workers start

    def _start(self, gpus: float, bound: bool = False) -> Any:
        """An actor on the driver's node, which stays and sees the driver's storage; unless `bound`, where that has no
        room on another one: better than none."""
        node = NodeAffinitySchedulingStrategy(self._drivers_node, soft=not bound)
        remote: Any = ray.remote  # its types lack some of the options
        options = {"max_restarts": 0, "concurrency_groups": {"watch": 1}, "scheduling_strategy": node}
        return remote(num_cpus=0, num_gpus=gpus, **options)(_Host).remote(self._factory)

    def begin(self, *arguments: Any) -> str:
        """Open the run; returns why the tracker cannot be reached now, or an empty string. Replayed.

        Raises:
            UserError: what is there is no tracker, or not the driver's storage: reported now, not after the training.
        """
        try:
            result = self._call("begin", *arguments, timeout=BEGIN_SECONDS)
        except GetTimeoutError as error:
            raise UserError(
                f"mlflow: expected the tracker to open a run within {BEGIN_SECONDS:g} s, it did not; is it reachable "
                "from the cluster's nodes?",
                argument="mlflow_uri",
            ) from error
        self._replayed.append(("begin", arguments))
        self._n_sent += 1
        return str(result)

    def send(self, name: str, *arguments: Any) -> None:
        """Call a method soon, before all that is called later, and return at once. Replayed."""
        self._replayed.append((name, arguments))
        full = len(self._replayed) - self._n_sent >= BATCH_CALLS
        if full or time.monotonic() - self._sent_at >= BATCH_SECONDS:
            self._flush()

    def _flush(self) -> None:
        """Send what has waited."""
        for start in range(self._n_sent, len(self._replayed), BATCH_CALLS):
            self._pending.append(self.handle.call_each.remote(self._replayed[start : start + BATCH_CALLS]))
        self._n_sent, self._sent_at = len(self._replayed), time.monotonic()

    def notify(self, name: str, *arguments: Any) -> None:
        """Call a method and return at once. Not replayed: it would be out of date.

        An actor that died over the last notification is replaced now, so that what it misses does not pile up.
        """
        if self._replacements < MAX_REPLACEMENTS and (error := self._death_over_notification()):
            self._replace(error)
        self._flush()
        self._notified = self.handle.call.remote(name, *arguments)

    def call(self, name: str, *arguments: Any) -> Any:
        """What a method returns, after all that was sent. An actor that dies over it is replaced, and called again.

        Raises:
            UserError: from the method, or from one that was sent.
            RayActorError, OutOfMemoryError: it died, and has been replaced `MAX_REPLACEMENTS` times.
        """
        return self._call(name, *arguments)

    def move_to_gpu(self, gpus: float, bound: str) -> None:
        """Go on in a new actor that holds `gpus` GPUs; where none is free soon, in the present one.

        What was sent is sent again, as to the replacement of an actor that died, which holds no GPU.

        Args:
            gpus: a share of one, or a whole number.
            bound: why it may not leave the driver's node; empty: it may go to any.
        """
        if bound and not self._is_here(gpus):
            self._progress.say(f"ray: the {self._name} stays on its node, on CPUs: {bound}")
            return
        candidate = self._start(gpus, bool(bound))
        if why := self._not_ready(candidate):
            ray.kill(candidate)
            self._progress.say(f"ray: {why}; it goes on on CPUs")
            return
        ray.kill(self.handle)
        self._begin_again(candidate)
        self._progress.say(f"ray: the {self._name} goes on with {gpus:g} GPU")

    def _is_here(self, gpus: float) -> bool:
        """Whether the driver's node has so many GPUs."""
        here = [node for node in ray.nodes() if node["NodeID"] == self._drivers_node]
        return any(node["Resources"].get("GPU", 0.0) >= gpus for node in here)

    def _not_ready(self, candidate: Any) -> str:
        """Why an actor that was started cannot take over; empty: it is placed and has built its object."""
        try:
            ray.get(candidate.progress.remote(), timeout=GPU_SECONDS)
        except RayError:
            return f"no GPU was free for the {self._name} within {GPU_SECONDS:g} s"
        try:
            built = ray.get(candidate.call.remote("progress"), timeout=BEGIN_SECONDS)
        except RayError as error:
            built = UserError(one_line(error))
        return f"the {self._name} could not start on a GPU ({built})" if isinstance(built, UserError) else ""

    def publish(self) -> str:
        """Show the result, which is in the store; returns why that was not possible, or an empty string."""
        try:
            return str(self._get(self.handle.call.remote("publish")))
        except UserError as error:
            return str(error)
        except DEATHS as error:
            return f"the {self._name} died while it showed the result ({one_line(error)})"

    def close(self, status: str) -> None:
        """Close the run as `status` and end the actor, within seconds."""
        # Without an answer the run stays open in MLflow; the same command makes a new one.
        with contextlib.suppress(GetTimeoutError, *DEATHS):
            self._flush()
            ray.get(self.handle.call.remote("close", status), timeout=CLOSE_SECONDS)
        ray.kill(self.handle)

    def show_progress(self) -> None:
        """Show what the object has done."""
        with contextlib.suppress(GetTimeoutError):
            if found := ray.get(self.handle.progress.remote(), timeout=PROGRESS_SECONDS):
                self._progress.step(self._stage, *found)

    def _call(self, name: str, *arguments: Any, timeout: float | None = None) -> Any:
        while True:
            try:
                self._flush()
                called = self.handle.call.remote(name, *arguments)
                self._settle()
                return self._get(called, timeout)
            except DEATHS as error:
                if self._replacements == MAX_REPLACEMENTS:
                    raise
                self._replace(error)

    def _settle(self) -> None:
        """Wait for what was sent."""
        for ref in self._pending:
            try:
                found = self._get(ref)
            except RayTaskError as error:
                found = [str(error).splitlines()[-1]]
            for wrong in found:
                if isinstance(wrong, UserError):
                    raise wrong
                # what could not be written or read then is read again later
                self._progress.say(f"{self._name}: {wrong}; the work goes on")
        self._pending = []

    def _get(self, ref: ray.ObjectRef, timeout: float | None = None) -> Any:
        """The result of a call. Without a timeout: an actor whose host is lost is silent until Ray declares it dead."""
        while True:
            try:
                result = ray.get(ref, timeout=timeout or POLL_SECONDS)
                break
            except GetTimeoutError:
                if timeout:
                    raise
            self.show_progress()
        if isinstance(result, UserError):
            raise result
        return result

    def _death_over_notification(self) -> Exception | None:
        if self._notified is None or not ray.wait([self._notified], timeout=0.0)[0]:
            return None
        try:
            ray.get(self._notified)
        except RayError as error:  # an actor that is only out of reach may receive the next one
            dead = isinstance(error, DEATHS) and not isinstance(error, ActorUnavailableError)
            return error if dead else None
        return None

    def _replace(self, error: Exception) -> None:
        self._replacements += 1
        self._progress.say(f"ray: the {self._name} is replaced ({one_line(error)})")
        ray.kill(self.handle)  # it may only have been out of reach
        self._begin_again(self._start(0.0))

    def _begin_again(self, handle: Any) -> None:
        self.handle = handle
        self._notified = None
        self._pending, self._n_sent = [], 0
        self._flush()


def typed(
    method: Callable[Concatenate[Any, P], R], how: Callable[..., Any]
) -> Callable[Concatenate[CentralActor, P], R]:
    """`method` of an object as the method of its proxy: the same signature, called by `how` of `CentralActor`."""

    @wraps(method)
    def remote(self: CentralActor, *arguments: P.args, **named: P.kwargs) -> R:
        result: R = how(self, method.__name__, *arguments, **named)
        return result

    return remote
