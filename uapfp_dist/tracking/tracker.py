"""The protocol of trackers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, TypeAlias

from uapfp_dist.serialization import Json

RunParams: TypeAlias = Mapping[str, Json | tuple[str, ...]]
"""Parameters of a run, nested as the JSON of a configuration."""

NAME, DESCRIPTION = "name", "description"
"""Keys beside the tags of a run: the name of a new one, and what its page says first, in Markdown, where
`artifact:PATH` as the target of an image or a link is a file of the run."""


class Tracker(Protocol):
    """Where results are shown. One writer at a time.

    Every method is idempotent: what is logged twice is there once.

    Raises:
        ConnectionError: (all methods) the tracker cannot be reached now.
        UserError: (all methods) it refuses.
    """

    def find_run(self, evaluation: str, publication: str) -> str | None:
        """The finished run of an evaluation that shows exactly this publication."""

    def start_run(self, evaluation: str, params: RunParams, tags: Mapping[str, str]) -> None:
        """Open the run of an evaluation, or resume it; `tags` may hold `NAME` and `DESCRIPTION`."""

    def describe(self, description: str) -> None:
        """Describe the run, as with `DESCRIPTION`."""

    def page(self) -> str:
        """The address of the page of the run that was opened or found, the path of its report, or an empty string."""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Metrics of the run."""

    def refresh_metrics(self, metrics: Mapping[str, float]) -> None:
        """The same, of those that the run has already."""

    def log_model(self, accuracy: float, number: int | None = None) -> None:
        """A trained model, the one with this number in the plan."""

    def log_suspect(self, name: str, tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """A judged model, as a nested run."""

    def log_files(self, folder: Path) -> None:
        """All files of a folder."""

    def end_run(self, status: str) -> str:
        """Close the run as FINISHED, FAILED or KILLED; returns its id."""


class NullTracker:
    """A tracker that shows nothing."""

    def find_run(self, evaluation: str, publication: str) -> str | None:
        """No run."""
        return None

    def start_run(self, evaluation: str, params: RunParams, tags: Mapping[str, str]) -> None:
        """Nothing."""

    def describe(self, description: str) -> None:
        """Nothing."""

    def page(self) -> str:
        """No address."""
        return ""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Nothing."""

    def refresh_metrics(self, metrics: Mapping[str, float]) -> None:
        """Nothing."""

    def log_model(self, accuracy: float, number: int | None = None) -> None:
        """Nothing."""

    def log_suspect(self, name: str, tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """Nothing."""

    def log_files(self, folder: Path) -> None:
        """Nothing."""

    def end_run(self, status: str) -> str:
        """No id."""
        return ""


def where_shown(page: str) -> str:
    """A line about what `Tracker.page` returns."""
    return f"MLflow: {page}" if page.startswith("http") else f"Page of the report: {page}"
