"""The recorder of a grid: hears every trial's result, alone writes them to the tracker, and sums them up."""

import contextlib
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from uapfp_dist.errors import UserError
from uapfp_dist.pipeline.grid import Cell, in_text
from uapfp_dist.pipeline.html import with_intervals
from uapfp_dist.pipeline.publish import KIND, Publication, Suspect, patience, publish, read_files
from uapfp_dist.pipeline.report import clean
from uapfp_dist.pipeline.trials import Result, Trials
from uapfp_dist.runtime import Tracker
from uapfp_dist.science import figures
from uapfp_dist.science.figures.grids import grid_maps
from uapfp_dist.specs import content_id
from uapfp_dist.store import Store

MOST_LINES = 8
"""In a figure; beyond that a map has to do."""


def grid_id(cells: Sequence[Cell]) -> str:
    """The id of a grid: the same cells are the same grid."""
    return content_id({"grid": [cell.id for cell in cells], "names": [cell.name for cell in cells]})


class Recorder:
    """One grid's results.

    Args:
        cells: the grid, in the order of its table.
        store: where results of cells that nobody reported are read, and where the whole is kept for the tracker.
        tracker: a nested run per cell, then table, figures and JSON. It may be away: `publish` makes up for it.
    """

    def __init__(self, cells: Sequence[Cell], store: Store, tracker: Tracker) -> None:
        self._cells = {cell.name: cell for cell in cells}
        self._id = grid_id(cells)
        self._store, self._tracker = store, tracker
        self._results: dict[str, Result] = {}
        self._begun: tuple[dict[str, Any], dict[str, str]] = {}, {}
        self._away = False

    def begin(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        """Open the run; returns why the tracker cannot be reached now, or an empty string.

        Raises:
            UserError: what is there is no tracker.
        """
        self._begun = dict(params), dict(tags)
        try:
            self._tracker.begin(self._id, *self._begun)
        except ConnectionError as error:
            self._away = True
            return str(error)
        return ""

    def record(self, result: Result) -> None:
        """Take note of a trial's result and show it as a nested run."""
        self._results.setdefault(result.cell, result)
        if self._away:
            return
        entry = _nested(self._cells[result.cell], result)
        try:
            self._tracker.suspect(entry.name, dict(entry.tags), dict(entry.metrics))
            self._tracker.metrics({"trials/done": float(len(self._results))}, step=len(self._results))
        except ConnectionError:
            self._away = True

    def done(self) -> tuple[int, int]:
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
                self._results[name] = Result(name, error=died[name]) if name in died else trials.run(cell)
        body = summed_up(list(self._cells.values()), self._results, context)
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
            publish(Publication.of(self._store.get(KIND, self._id)), self._tracker, patience())
        except (ConnectionError, UserError) as error:
            return str(error)
        return ""

    def close(self, status: str) -> None:
        """Close the run of a grid that came to nothing; `publish` has closed a finished one."""
        if status != "FINISHED":
            with contextlib.suppress(ConnectionError, UserError):
                self._tracker.end(status)


def _nested(cell: Cell, result: Result) -> Suspect:
    """A cell as a nested run; what a trial cost is only known where it was run."""
    tags = {axis: in_text(value) for axis, value in cell.values.items()}
    metrics = {name: value for name, value in result.means.items() if not math.isnan(value)}
    if result.fitted:
        metrics |= {"seconds": result.seconds, "encoders_trained": float(result.fitted)}
    return Suspect(cell.name, tags | {"role": "trial", "error": result.error[:500]}, metrics)


def summed_up(cells: Sequence[Cell], results: Mapping[str, Result], context: Mapping[str, Any]) -> dict[str, Any]:
    """A grid as JSON: `table` has a row per cell (means, intervals over models), `draws` a row per cell and draw."""
    grid = {axis: list(dict.fromkeys(in_text(cell.values[axis]) for cell in cells)) for axis in cells[0].values}
    found = [results[cell.name] for cell in cells]
    run = sum(bool(r.fitted) for r in found)
    table = [{**_plain(cell.values), **result.means} for cell, result in zip(cells, found, strict=True) if result.means]
    return clean(
        {
            "sweep": grid_id(cells),
            "grid": grid,
            "cells": len(cells),
            "trials": {"run": run, "reused": sum(bool(r.rows) for r in found) - run},
            "encoders_trained": sum(r.fitted for r in found),
            "failures": [{"cell": r.cell, "error": r.error} for r in found if r.error],
            "table": table,
            "draws": [_plain(row) for result in found for row in result.rows],
            **context,
        }
    )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as they are, everything else as it is written on the command line."""
    return {k: v if isinstance(v, int | float) and not isinstance(v, bool) else in_text(v) for k, v in values.items()}


def grid_figures(body: Mapping[str, Any]) -> dict[str, Figure]:
    """Lines or bars over one axis, maps over two; further axes are joined to the first."""
    table, axes = pd.DataFrame(body["table"]), list(body["grid"])
    if table.empty:
        return {}
    if len(axes) == 1:
        return {"lines": _one_axis(table, axes[0])}
    y, *others = reversed(axes)
    x = others[0]
    if len(others) > 1:
        x = " ".join(reversed(others))
        table[x] = table[others[::-1]].astype(str).agg(" ".join, axis=1)
    found = {"map": grid_maps(table, x, y)}
    if len(others) == 1 and pd.api.types.is_numeric_dtype(table[x]) and len(body["grid"][y]) <= MOST_LINES:
        found["lines"] = figures.ablation_lines(table.assign(**{y: f"{y} " + table[y].astype(str)}), x, by=y)
    return found


def _one_axis(table: pd.DataFrame, axis: str) -> Figure:
    if axis == "n_points":
        return figures.fig6_n_points(table)
    if axis == "top_k":
        return figures.fig6_top_k(table)
    numeric = pd.api.types.is_numeric_dtype(table[axis])
    return figures.ablation_lines(table, axis) if numeric else figures.ablation_bars(table, axis)


def _write_files(folder: Path, body: Mapping[str, Any]) -> None:
    for name in ("tables", "figures"):
        (folder / name).mkdir()
    (folder / "ablation.json").write_text(json.dumps(body, indent=1))
    (folder / "summary.txt").write_text(in_words(body) + "\n")
    pd.DataFrame(body["table"]).to_csv(folder / "tables" / "ablation.csv", index=False)
    for name, figure in grid_figures(body).items():
        figure.savefig(folder / "figures" / f"ablation_{name}.png")


def in_words(body: Mapping[str, Any]) -> str:
    """The table of the terminal."""
    table = pd.DataFrame(body["table"])
    lines = []
    if len(table):
        shown = with_intervals(table).rename(columns={"auc_other_victim": "auc other victim"})
        lines.append(shown.to_string(index=False, float_format=lambda v: f"{v:.3f}"))
    lines += [f"failed: {f['cell']}: {f['error']}" for f in body["failures"]]
    return "\n".join(lines)
