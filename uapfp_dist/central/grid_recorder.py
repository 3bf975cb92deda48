"""The recorder of a grid: takes every trial's result and alone writes to the tracker."""

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.grid_cells import GridCell
from uapfp_dist.evaluation.trials import TrialResult, Trials
from uapfp_dist.reporting.grid_report import grid_description, grid_id, grid_results, nested_run, write_grid_files
from uapfp_dist.reporting.grid_schema import GridReport, Preparation
from uapfp_dist.serialization import to_json
from uapfp_dist.storage.store import Store
from uapfp_dist.tracking.publication import KIND, Publication, publish_stored, read_files
from uapfp_dist.tracking.tracker import DESCRIPTION, RunParams, Tracker


class GridRecorder:
    """One grid's results.

    Args:
        cells: the grid, in the order of its table.
        store: where results of cells that were not recorded are read, and where the whole is kept for the tracker.
        tracker: a nested run per cell, then table, figures and JSON. It may be away: `publish` makes up for it.
    """

    def __init__(self, cells: Sequence[GridCell], store: Store, tracker: Tracker) -> None:
        self._cells = {cell.name: cell for cell in cells}
        self._id = grid_id(cells)
        self._store, self._tracker = store, tracker
        self._results: dict[str, TrialResult] = {}
        self._begun: tuple[RunParams, Mapping[str, str]] = {}, {}
        self._away = False

    def begin(self, params: RunParams, tags: Mapping[str, str]) -> str:
        """Open the run; returns why the tracker cannot be reached now, or an empty string.

        Raises:
            UserError: there is no such tracker, or it refuses.
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
        entry = nested_run(self._cells[result.cell], result)
        try:
            self._tracker.log_suspect(entry.name, entry.tags, entry.metrics)
            self._tracker.log_metrics({"trials/done": float(len(self._results))}, step=len(self._results))
        except ConnectionError:
            self._away = True

    def progress(self) -> tuple[int, int]:
        """Trials recorded, and trials in all."""
        return len(self._results), len(self._cells)

    def finish(self, died: Mapping[str, str], preparation: Preparation) -> GridReport:
        """Store the report, table and figures of all cells; returns the report.

        Args:
            died: cell to what killed its trial.
            preparation: what was made before the trials.
        """
        trials = Trials(self._store)
        for name, cell in self._cells.items():
            if name not in self._results:
                self._results[name] = TrialResult(name, error=died[name]) if name in died else trials.run(cell)
        report = grid_results(list(self._cells.values()), self._results, preparation)
        with tempfile.TemporaryDirectory() as folder:
            write_grid_files(Path(folder), report)
            files = read_files(Path(folder))
        nested = [nested_run(cell, self._results[name]) for name, cell in self._cells.items()]
        counts = {"trials/all": float(len(nested)), "trials/failed": float(len(report.failures))}
        params, tags = self._begun
        tags = {**tags, DESCRIPTION: grid_description(report)}
        publication = Publication(self._id, params, tags, counts, [], nested, files)
        self._store.put(KIND, self._id, *publication.to_artifact())
        self._store.put("ablation", self._id, {}, to_json(report))
        return report

    def publish(self) -> str:
        """Show all of it in the tracker, however much it has missed; returns why not, or an empty string."""
        return publish_stored(self._store, self._id, self._tracker)

    def close(self, status: str) -> None:
        """Close the run of a grid that came to nothing; `publish` has closed a finished one."""
        if status != "FINISHED":
            with contextlib.suppress(ConnectionError, UserError):
                self._tracker.end_run(status)
