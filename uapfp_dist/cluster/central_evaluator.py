"""The central actor: the pipeline's arbiter in a process of its own, the only writer to MLflow."""

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayError, RayTaskError

from uapfp_dist.central.evaluator import Evaluator
from uapfp_dist.cluster.central_actor import DEATHS, central
from uapfp_dist.errors import MismatchError, UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.progress import Progress
from uapfp_dist.reporting.report import Report
from uapfp_dist.storage.store import shared_store
from uapfp_dist.tasks.outcomes import Outcome
from uapfp_dist.tracking.tracker import Tracker

POLL_SECONDS = 1.0
PROGRESS_SECONDS = 60.0
BEGIN_SECONDS = 300.0
MOST_LIVES = 4
"""Arbiters that one evaluation may need: the node of one may leave, as any other."""


class _Actor:
    """Runs the arbiter; a user's error comes back as a value."""

    def __init__(self, plan: Plan, storage: str, mark: str, tracker: Callable[[], Tracker]) -> None:
        self._plan, self._storage, self._mark, self._tracker = plan, storage, mark, tracker
        self._arbiter: Evaluator | None = None
        self._draws = plan.config.verdict.n_resamples

    def _make(self) -> Evaluator:
        try:
            store = shared_store(self._storage, self._mark)
        except MismatchError as error:
            raise UserError(f"arbiter on {os.uname().nodename}: {error}") from error
        return Evaluator(self._plan, store, self._tracker())

    def call(self, name: str, *arguments: Any) -> Any:
        """`Evaluator.<name>(*arguments)`, one call after the other."""
        try:
            self._arbiter = self._arbiter or self._make()
            return getattr(self._arbiter, name)(*arguments)
        except UserError as error:
            return error

    @ray.method(concurrency_group="watch")
    def progress(self) -> tuple[int, int]:
        """Draws fitted and draws in all; answered while `call` is at work."""
        return self._arbiter.progress() if self._arbiter else (0, self._draws)


class CentralEvaluator:
    """The arbiter's methods, answered by an actor. One that dies is replaced: all it knows is in the store.

    Args:
        plan: what is evaluated.
        storage: the store's URL.
        mark: what the driver left in its store: the actor proves that it sees the same.
        tracker: makes the tracker, inside the actor.
        progress: told of the draws.
    """

    def __init__(self, plan: Plan, storage: str, mark: str, tracker: Callable[[], Tracker], progress: Progress) -> None:
        remote = central(_Actor)
        self._make = lambda: remote.remote(plan, storage, mark, tracker)
        self._progress = progress
        self._actor: Any = self._make()
        self._lives_left = MOST_LIVES - 1
        self._calls: list[tuple[str, Any]] = []
        self._pending: list[ray.ObjectRef] = []
        self._noted: ray.ObjectRef | None = None
        self._actor.call.remote("progress")  # imports the tracker's libraries while the workers start

    def begin(self, settings: Mapping[str, Any]) -> str:
        """Open the run; returns why the tracker cannot be reached now, or an empty string.

        Raises:
            UserError: what is there is no tracker, or not the driver's storage: told of now, not after the training.
        """
        self._call("begin", settings)
        try:
            result = self._with_restart(lambda: ray.get(self._pending[0], timeout=BEGIN_SECONDS))
        except GetTimeoutError as error:
            raise UserError(
                f"mlflow: expected the tracker to open a run within {BEGIN_SECONDS:g} s, it did not; is it reachable "
                "from the cluster's nodes? check --mlflow-uri"
            ) from error
        if isinstance(result, UserError):
            raise result
        assert isinstance(result, str)
        return result

    def observe(self, outcome: Outcome) -> None:
        """Hand over an outcome; returns at once."""
        self._call("observe", outcome)

    def note(self, numbers: Mapping[str, float], seconds: int) -> None:
        """Hand over how the work stands; returns at once. Not repeated to a new actor: it would be out of date.

        An actor that died over the last one is replaced now, so that what it misses does not pile up.
        """
        if self._lives_left and (error := self._death_over_note()):
            self._replace(error)
        self._noted = self._actor.call.remote("note", numbers, seconds)

    def _death_over_note(self) -> Exception | None:
        if self._noted is None or not ray.wait([self._noted], timeout=0.0)[0]:
            return None
        try:
            ray.get(self._noted)
        except RayError as error:  # one that is only out of reach may hear the next note
            dead = isinstance(error, DEATHS) and not isinstance(error, ActorUnavailableError)
            return error if dead else None
        return None

    def _call(self, name: str, argument: Any) -> None:
        self._calls.append((name, argument))
        self._pending.append(self._actor.call.remote(name, argument))

    def judge(self, context: Mapping[str, Any]) -> Report:
        """Fit and judge; an actor that died is replaced and told again what was seen.

        Raises:
            UserError: from the arbiter.
        """
        report = self._with_restart(lambda: self._judge(context))
        assert isinstance(report, Report)
        return report

    def _with_restart(self, ask: Callable[[], Any]) -> Any:
        """What `ask` gets; an actor that died over it is replaced, told again what was seen, and asked again."""
        while True:
            try:
                return ask()
            except DEATHS as error:
                if not self._lives_left:
                    raise
                self._replace(error)

    def _replace(self, error: Exception) -> None:
        self._lives_left -= 1
        self._progress.say(f"ray: the arbiter is replaced ({_first_line(error)})")
        ray.kill(self._actor)  # it may only have been out of reach, and there is one writer at a time
        self._actor = self._make()
        self._noted = None
        self._pending = [self._actor.call.remote(*call) for call in self._calls]

    def publish(self) -> str:
        """Show the report in the tracker; returns why that was not possible, or an empty string."""
        try:
            result = self._wait(self._actor.call.remote("publish"))
        except DEATHS as error:
            return f"the arbiter died while it showed the report ({_first_line(error)})"
        return str(result)

    def _judge(self, context: Mapping[str, Any]) -> Report:
        judged = self._actor.call.remote("judge", context)
        for reference in self._pending:
            try:
                self._heard(reference)
            except RayTaskError as error:  # what it could not keep or read then, `judge` reads again
                self._progress.say(f"arbiter: {str(error).splitlines()[-1]}; judging goes on")
        result = self._heard(judged)
        self._pending = []
        self._progress.finish("judge")
        assert isinstance(result, Report)
        return result

    def _heard(self, reference: ray.ObjectRef) -> Any:
        result = self._wait(reference)
        if isinstance(result, UserError):
            raise result
        return result

    def _wait(self, reference: ray.ObjectRef) -> Any:
        """The answer, however long it takes. An actor whose host is lost says nothing until Ray declares it dead."""
        while True:
            with contextlib.suppress(GetTimeoutError):
                return ray.get(reference, timeout=POLL_SECONDS)
            with contextlib.suppress(GetTimeoutError):
                self._progress.step("judge", *ray.get(self._actor.progress.remote(), timeout=PROGRESS_SECONDS))

    def close(self, status: str) -> None:
        """Close the run as `status` and end the actor, within seconds."""
        # Without an answer the run stays open in MLflow; the same command makes a new one.
        with contextlib.suppress(GetTimeoutError, *DEATHS):
            ray.get(self._actor.call.remote("close", status), timeout=5.0)
        ray.kill(self._actor)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
