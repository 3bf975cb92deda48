"""A grid's results as JSON, table, figures and text."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from uapfp_dist.evaluation.grid import GridCell, in_text
from uapfp_dist.evaluation.trials import TrialResult
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.figures.grids import grid_maps
from uapfp_dist.reporting.number_format import with_intervals
from uapfp_dist.serialization import without_nan
from uapfp_dist.tasks.hashing import content_id
from uapfp_dist.tracking.publication import NestedRun

MOST_LINES = 8
"""In a figure; beyond that a map has to do."""


def grid_id(cells: Sequence[GridCell]) -> str:
    """The id of a grid: the same cells are the same grid."""
    return content_id({"grid": [cell.id for cell in cells], "names": [cell.name for cell in cells]})


def _nested(cell: GridCell, result: TrialResult) -> NestedRun:
    """A cell as a nested run; what a trial cost is only known where it was run."""
    tags = {axis: in_text(value) for axis, value in cell.values.items()}
    metrics = {name: value for name, value in result.means.items() if not math.isnan(value)}
    if result.fitted:
        metrics |= {"seconds": result.seconds, "encoders_trained": float(result.fitted)}
    return NestedRun(cell.name, tags | {"role": "trial", "error": result.error[:500]}, metrics)


def grid_results(
    cells: Sequence[GridCell], results: Mapping[str, TrialResult], context: Mapping[str, Any]
) -> dict[str, Any]:
    """A grid as JSON: `table` has a row per cell (means, intervals over models), `draws` a row per cell and draw."""
    grid = {axis: list(dict.fromkeys(in_text(cell.values[axis]) for cell in cells)) for axis in cells[0].values}
    found = [results[cell.name] for cell in cells]
    run = sum(bool(r.fitted) for r in found)
    table = [{**_plain(cell.values), **result.means} for cell, result in zip(cells, found, strict=True) if result.means]
    return without_nan(
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
    (folder / "summary.txt").write_text(grid_text(body) + "\n")
    pd.DataFrame(body["table"]).to_csv(folder / "tables" / "ablation.csv", index=False)
    for name, figure in grid_figures(body).items():
        figure.savefig(folder / "figures" / f"ablation_{name}.png")


def grid_text(body: Mapping[str, Any]) -> str:
    """The table of the terminal."""
    table = pd.DataFrame(body["table"])
    lines = []
    if len(table):
        shown = with_intervals(table).rename(columns={"auc_other_victim": "auc other victim"})
        lines.append(shown.to_string(index=False, float_format=lambda v: f"{v:.3f}"))
    lines += [f"failed: {f['cell']}: {f['error']}" for f in body["failures"]]
    return "\n".join(lines)
