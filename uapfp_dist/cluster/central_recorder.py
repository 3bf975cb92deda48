"""The central actor of a grid, which alone writes its results to the tracker."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import GetTimeoutError

from uapfp_dist.central.grid_recorder import GridParams, GridRecorder
from uapfp_dist.cluster.central_actor import DEATHS, central
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.grid import GridCell
from uapfp_dist.reporting.grid_schema import GridReport, Preparation
from uapfp_dist.storage.store import shared_store
from uapfp_dist.tracking.tracker import Tracker

BEGIN_SECONDS, RECORD_SECONDS, CLOSE_SECONDS = 300.0, 60.0, 5.0


class _Actor:
    """Runs the recorder; a user's error comes back as a value."""

    def __init__(self, cells: Sequence[GridCell], storage: str, mark: str, tracker: Callable[[], Tracker]) -> None:
        self._make = lambda: GridRecorder(cells, shared_store(storage, mark), tracker())
        self._recorder: GridRecorder | None = None

    def call(self, name: str, *arguments: Any) -> Any:
        """`Recorder.<name>(*arguments)`, one call after the other."""
        try:
            self._recorder = self._recorder or self._make()
            return getattr(self._recorder, name)(*arguments)
        except UserError as error:
            return error

    @ray.method(concurrency_group="watch")
    def done(self) -> tuple[int, int]:
        """Trials recorded and trials in all; answered while `call` is at work."""
        return self._recorder.done() if self._recorder else (0, 0)


class CentralRecorder:
    """The recorder's methods, answered by an actor. One that died is replaced at the end: results are in the store.

    Args:
        cells: the grid.
        storage: the store's URL.
        mark: that the driver left there.
        tracker: makes the tracker, inside the actor.
    """

    def __init__(self, cells: Sequence[GridCell], storage: str, mark: str, tracker: Callable[[], Tracker]) -> None:
        remote = central(_Actor)
        self._make = lambda: remote.remote(cells, storage, mark, tracker)
        self.actor: Any = self._make()
        self._begun: tuple[Any, ...] = ()

    def begin(self, params: GridParams, tags: Mapping[str, str]) -> str:
        """As `Recorder.begin`."""
        self._begun = (params, tags)
        try:
            return str(self._call("begin", params, tags, timeout=BEGIN_SECONDS))
        except GetTimeoutError as error:
            raise UserError(
                f"mlflow: expected the tracker to open a run within {BEGIN_SECONDS:g} s, it did not; is it reachable "
                "from the cluster's nodes? check --mlflow-uri"
            ) from error

    def done(self) -> tuple[int, int]:
        """Trials recorded and trials in all."""
        found: tuple[int, int] = ray.get(self.actor.done.remote(), timeout=RECORD_SECONDS)
        return found

    def finish(self, died: Mapping[str, str], preparation: Preparation) -> GridReport:
        """As `Recorder.finish`."""
        try:
            report: GridReport = self._call("finish", died, preparation)
        except DEATHS:
            ray.kill(self.actor)  # it may only have been out of reach, and there is one writer at a time
            self.actor = self._make()
            self._call("begin", *self._begun, timeout=BEGIN_SECONDS)
            report = self._call("finish", died, preparation)
        return report

    def publish(self) -> str:
        """As `Recorder.publish`."""
        try:
            return str(self._call("publish"))
        except DEATHS as error:
            return f"the recorder died while it showed the grid ({str(error).splitlines()[0]})"

    def _call(self, name: str, *arguments: Any, timeout: float | None = None) -> Any:
        found = ray.get(self.actor.call.remote(name, *arguments), timeout=timeout)
        if isinstance(found, UserError):
            raise found
        return found

    def close(self, status: str) -> None:
        """Close the run and end the actor."""
        with contextlib.suppress(GetTimeoutError, *DEATHS):
            self._call("close", status, timeout=CLOSE_SECONDS)
        ray.kill(self.actor)
