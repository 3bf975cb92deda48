"""A tracker while the work goes on."""

import time
from collections.abc import Callable
from typing import Any

from uapfp_dist.errors import UserError
from uapfp_dist.tracking.tracker import Tracker

REST_SECONDS = 60.0
"""Between two tries while models are still being trained."""


class LiveTracker:
    """A tracker while the work goes on: one that is away costs next to nothing, the publication makes up for it.

    Args:
        tracker: may raise ConnectionError.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._unopened: tuple[str, dict[str, Any], dict[str, str]] | None = None
        self._rest_until = 0.0

    def begin(self, evaluation: str, params: dict[str, Any], tags: dict[str, str]) -> str:
        """Open the run, now or when the tracker is there; returns why it could not be now, or an empty string.

        Raises:
            UserError: the tracker refuses.
        """
        self._unopened = (evaluation, params, tags)
        try:
            self._open()
        except ConnectionError as error:
            self._rest_until = time.monotonic() + REST_SECONDS
            return str(error)
        return ""

    def card(self, card: dict[str, Any]) -> None:
        """Show a trained model if the tracker is there."""
        self._show(lambda: self._tracker.card(card))

    def metrics(self, values: dict[str, float], step: int) -> None:
        """Show numbers if the tracker is there."""
        self._show(lambda: self._tracker.metrics(values, step))

    def _show(self, call: Callable[[], None]) -> None:
        if time.monotonic() < self._rest_until:
            return
        try:
            self._open()
            call()
        except (ConnectionError, UserError):  # a refusal now is no reason to lose what is being trained
            self._rest_until = time.monotonic() + REST_SECONDS

    def end(self, status: str) -> str:
        """Close the run if the tracker is there; returns where it can be seen."""
        try:
            return self._tracker.end(status)
        except (ConnectionError, UserError):
            return ""

    def _open(self) -> None:
        if self._unopened is not None:
            self._tracker.begin(*self._unopened)
            self._unopened = None
