"""A tracker while models are being trained."""

import time
from collections.abc import Callable, Mapping

from uapfp_dist.errors import UserError
from uapfp_dist.tracking.tracker import RunParams, Tracker

RETRY_SECONDS = 60.0
"""Between two tries to reach a tracker."""


class LiveTracker:
    """A tracker while models are being trained: an unreachable one costs next to nothing, and nothing is lost, as the
    publication at the end shows all of it.

    Args:
        tracker: may raise ConnectionError.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._pending_start: tuple[str, RunParams, Mapping[str, str]] | None = None
        self._retry_at = 0.0

    def start_run(self, evaluation: str, params: RunParams, tags: Mapping[str, str]) -> str:
        """Open the run, now or once the tracker can be reached; returns why not now, or an empty string.

        Raises:
            UserError: the tracker refuses.
        """
        self._pending_start = (evaluation, params, tags)
        try:
            self._start()
        except ConnectionError as error:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            return str(error)
        return ""

    def log_model(self, accuracy: float, number: int | None = None) -> None:
        """Show a trained model if the tracker can be reached."""
        self._try(lambda: self._tracker.log_model(accuracy, number))

    def describe(self, description: str) -> None:
        """Describe the run if the tracker can be reached."""
        self._try(lambda: self._tracker.describe(description))

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Show metrics if the tracker can be reached."""
        self._try(lambda: self._tracker.log_metrics(metrics, step))

    def end_run(self, status: str) -> str:
        """Close the run if the tracker can be reached; returns its id."""
        try:
            return self._tracker.end_run(status)
        except (ConnectionError, UserError):
            return ""

    def _try(self, call: Callable[[], None]) -> None:
        if time.monotonic() < self._retry_at:
            return
        try:
            self._start()
            call()
        except (ConnectionError, UserError):  # even a refusal must not stop the training
            self._retry_at = time.monotonic() + RETRY_SECONDS

    def _start(self) -> None:
        if self._pending_start is not None:
            self._tracker.start_run(*self._pending_start)
            self._pending_start = None
