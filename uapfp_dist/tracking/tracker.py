"""What a tracker does, and one that shows nothing."""

from pathlib import Path
from typing import Any, Protocol


class Tracker(Protocol):
    """Where results are shown. One writer at a time.

    Every method is idempotent: told the same twice, it shows it once. It raises ConnectionError where the tracker is
    away, and UserError where it refuses.
    """

    def find(self, evaluation: str, publication: str) -> str | None:
        """The finished run of an evaluation that shows just this publication."""

    def begin(self, evaluation: str, params: dict[str, Any], tags: dict[str, str]) -> None:
        """Open the run of an evaluation."""

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        """Numbers of the run."""

    def card(self, card: dict[str, Any]) -> None:
        """A model that was trained."""

    def suspect(self, name: str, tags: dict[str, str], metrics: dict[str, float]) -> None:
        """A judged model, as a nested run."""

    def folder(self, path: Path) -> None:
        """Files to keep with the run."""

    def end(self, status: str) -> str:
        """Close the run as FINISHED, FAILED or KILLED; returns where it can be seen."""


class NullTracker:
    """Shows nothing."""

    def find(self, evaluation: str, publication: str) -> str | None:
        """No run, ever."""
        return None

    def begin(self, evaluation: str, params: dict[str, Any], tags: dict[str, str]) -> None:
        """Nothing."""

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        """Nothing."""

    def card(self, card: dict[str, Any]) -> None:
        """Nothing."""

    def suspect(self, name: str, tags: dict[str, str], metrics: dict[str, float]) -> None:
        """Nothing."""

    def folder(self, path: Path) -> None:
        """Nothing."""

    def end(self, status: str) -> str:
        """Nowhere."""
        return ""
