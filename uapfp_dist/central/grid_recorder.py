"""The recorder of a grid: hears every trial's result and alone writes them to the tracker."""

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.grid import GridCell
from uapfp_dist.evaluation.trials import TrialResult, Trials
from uapfp_dist.reporting.grid_report import _nested, _write_files, grid_id, grid_results
from uapfp_dist.storage.store import Store
from uapfp_dist.tracking.publication import KIND, Publication, patience, publish, read_files
from uapfp_dist.tracking.tracker import Tracker


class GridRecorder:
    """One grid's results.

    Args:
        cells: the grid, in the order of its table.
        store: where results of cells that nobody reported are read, and where the whole is kept for the tracker.
        tracker: a nested run per cell, then table, figures and JSON. It may be away: `publish` makes up for it.
    """

    def __init__(self, cells: Sequence[GridCell], store: Store, tracker: Tracker) -> None:
        self._cells = {cell.name: cell for cell in cells}
        self._id = grid_id(cells)
        self._store, self._tracker = store, tracker
        self._results: dict[str, TrialResult] = {}
        self._begun: tuple[dict[str, Any], dict[str, str]] = {}, {}
        self._away = False

    def begin(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        """Open the run; returns why the tracker cannot be reached now, or an empty string.

        Raises:
            UserError: what is there is no tracker.
        """
        self._begun = dict(params), dict(tags)
        try:
            self._tracker.start_run(self._id, *self._begun)
        except ConnectionError as error:
            self._away = True
            return str(error)
        return ""

    def record(self, result: TrialResult) -> None:
        """Take note of a trial's result and show it as a nested run."""
        self._results.setdefault(result.cell, result)
        if self._away:
            return
        entry = _nested(self._cells[result.cell], result)
        try:
            self._tracker.log_suspect(entry.name, entry.tags, entry.metrics)
            self._tracker.log_metrics({"trials/done": float(len(self._results))}, step=len(self._results))
        except ConnectionError:
            self._away = True

    def progress(self) -> tuple[int, int]:
        """Trials recorded, and trials in all."""
        return len(self._results), len(self._cells)

    def finish(self, died: Mapping[str, str], context: Mapping[str, Any]) -> dict[str, Any]:
        """Table, figures and JSON of all cells, into the store; returns the JSON.

        Args:
            died: cell to what killed its trial.
            context: joins the JSON.
        """
        trials = Trials(self._store)
        for name, cell in self._cells.items():
            if name not in self._results:
                self._results[name] = TrialResult(name, error=died[name]) if name in died else trials.run(cell)
        body = grid_results(list(self._cells.values()), self._results, context)
        with tempfile.TemporaryDirectory() as folder:
            _write_files(Path(folder), body)
            files = read_files(Path(folder))
        nested = [_nested(cell, self._results[name]) for name, cell in self._cells.items()]
        counts = {"trials/all": float(len(nested)), "trials/failed": float(len(body["failures"]))}
        publication = Publication(self._id, *self._begun, counts, [], nested, files)
        self._store.put(KIND, self._id, *publication.to_artifact())
        self._store.put("ablation", self._id, {}, body)
        return body

    def publish(self) -> str:
        """Show all of it in the tracker, however much it has missed; returns why that was not possible, or nothing."""
        try:
            publish(Publication.from_artifact(self._store.get(KIND, self._id)), self._tracker, patience())
        except (ConnectionError, UserError) as error:
            return str(error)
        return ""

    def close(self, status: str) -> None:
        """Close the run of a grid that came to nothing; `publish` has closed a finished one."""
        if status != "FINISHED":
            with contextlib.suppress(ConnectionError, UserError):
                self._tracker.end_run(status)
