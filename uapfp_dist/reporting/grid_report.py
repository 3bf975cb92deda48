"""A grid's results as report, table, figures and text."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from uapfp_dist.evaluation.grid_axes import in_text
from uapfp_dist.evaluation.grid_cells import GridCell
from uapfp_dist.evaluation.trials import TrialResult
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.figures.grids import grid_maps
from uapfp_dist.reporting.grid_schema import CellFailure, GridReport, GridRow, Preparation, TrialCounts
from uapfp_dist.reporting.number_format import with_intervals
from uapfp_dist.serialization import to_json
from uapfp_dist.tasks.hashing import content_id
from uapfp_dist.tracking.publication import NestedRun

MOST_LINES = 8
"""In a figure; beyond that there is a map alone."""


def grid_id(cells: Sequence[GridCell]) -> str:
    """The id of a grid: the same cells are the same grid."""
    return content_id({"grid": [cell.id for cell in cells], "names": [cell.name for cell in cells]})


def nested_run(cell: GridCell, result: TrialResult) -> NestedRun:
    """A cell as a nested run; the cost of a trial is known only where it was run."""
    tags = {axis: in_text(value) for axis, value in cell.values.items()}
    metrics = {name: value for name, value in result.means.items() if not math.isnan(value)}
    if result.fitted:
        metrics |= {"seconds": result.seconds, "encoders_trained": float(result.fitted)}
    return NestedRun(cell.name, tags | {"role": "trial", "error": result.error[:500]}, metrics)


def grid_results(cells: Sequence[GridCell], results: Mapping[str, TrialResult], preparation: Preparation) -> GridReport:
    """The report of a grid.

    Args:
        cells: in the order of the table.
        results: by the name of the cell.
        preparation: what was made before.
    """
    found = [results[cell.name] for cell in cells]
    run = sum(bool(r.fitted) for r in found)
    pairs = list(zip(cells, found, strict=True))
    return GridReport(
        sweep=grid_id(cells),
        grid={axis: tuple(dict.fromkeys(in_text(cell.values[axis]) for cell in cells)) for axis in cells[0].values},
        cells=len(cells),
        trials=TrialCounts(run=run, reused=sum(bool(r.rows) for r in found) - run),
        encoders_trained=sum(r.fitted for r in found),
        failures=tuple(CellFailure(cell=r.cell, error=r.error) for r in found if r.error),
        table=tuple(_row(cell, result.means) for cell, result in pairs if result.means),
        resamples=tuple(_row(cell, row) for cell, result in pairs for row in result.rows),
        models=preparation.models,
        failed_specs=preparation.failed_specs,
    )


def _row(cell: GridCell, measured: Mapping[str, float]) -> GridRow:
    """Numbers as they are, everything else as it is written on the command line."""
    values = {
        axis: value if isinstance(value, int | float) and not isinstance(value, bool) else in_text(value)
        for axis, value in cell.values.items()
    }
    return {**values, **measured}


def grid_table(report: GridReport) -> pd.DataFrame:
    """A row per cell; null where nothing was measured."""
    return pd.DataFrame(to_json(report)["table"])


def grid_figures(report: GridReport) -> dict[str, Figure]:
    """Lines or bars over one axis, maps over two; further axes are joined to the first."""
    table, axes = grid_table(report), list(report.grid)
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
    if len(others) == 1 and pd.api.types.is_numeric_dtype(table[x]) and len(report.grid[y]) <= MOST_LINES:
        found["lines"] = figures.ablation_lines(table.assign(**{y: f"{y} " + table[y].astype(str)}), x, by=y)
    return found


def _one_axis(table: pd.DataFrame, axis: str) -> Figure:
    if axis == "n_points":
        return figures.fig6_n_points(table)
    if axis == "top_k":
        return figures.fig6_top_k(table)
    numeric = pd.api.types.is_numeric_dtype(table[axis])
    return figures.ablation_lines(table, axis) if numeric else figures.ablation_bars(table, axis)


def write_grid_files(folder: Path, report: GridReport) -> None:
    """Write ablation.json, summary.txt, tables/*.csv and figures/*.png to `folder`."""
    for name in ("tables", "figures"):
        (folder / name).mkdir()
    (folder / "ablation.json").write_text(json.dumps(to_json(report), indent=1))
    (folder / "summary.txt").write_text(grid_text(report) + "\n")
    grid_table(report).to_csv(folder / "tables" / "ablation.csv", index=False)
    for name, figure in grid_figures(report).items():
        figure.savefig(folder / "figures" / f"ablation_{name}.png")


def grid_description(report: GridReport) -> str:
    """What was varied, a picture of what it does, and where the rest is, in Markdown."""
    axes = " by ".join(f"{axis} ({', '.join(values)})" for axis, values in report.grid.items())
    failed = f", {len(report.failures)} of them failed" if report.failures else ""
    pictures = [f"![{name}](artifact:figures/ablation_{name}.png)\n\n" for name in list(grid_figures(report))[:1]]
    return (
        f"**{report.cells} trials: {axes}{failed}.**\n\n{''.join(pictures)}All numbers: "
        "[ablation.csv](artifact:tables/ablation.csv), [ablation.json](artifact:ablation.json). Every trial is a "
        "nested run.\n"
    )


def grid_text(report: GridReport) -> str:
    """The table of the terminal."""
    table = grid_table(report)
    lines = []
    if len(table):
        shown = with_intervals(table).rename(columns={"auc_other_victim": "auc other victim"})
        lines.append(shown.to_string(index=False, float_format=lambda v: f"{v:.3f}"))
    lines += [f"failed: {failure.cell}: {failure.error}" for failure in report.failures]
    lines += [f"measured without {failed.kind} {failed.id}: {failed.error}" for failed in report.failed_specs]
    return "\n".join(lines)
