"""Results against one setting: lines for numeric settings, bars for named ones."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from uapfp_dist.reporting.figures.columns import by_value, require_columns
from uapfp_dist.reporting.figures.marks import SeriesStyle, named_rows, series
from uapfp_dist.reporting.figures.style import COLUMN, PAGE, describe_axes, display_name, legend, no_data, subplots
from uapfp_dist.reporting.figures.sweeps import over_resamples


def ablation_lines(
    table: pd.DataFrame, x: str, ys: Sequence[str] = ("auc", "gap"), by: str | None = None, x_label: str | None = None
) -> Figure:
    """Results against a numeric setting, a panel per result and a line per `by`.

    Args:
        table: one row per value of `x` (and `by` if given), columns `x`, each of `ys` with its interval `<y>_low` and
            `<y>_high`; without intervals one row per resample: mean and range are drawn.
        x_label: of the x axis; by default the column's name.
    """
    table = require_columns(table, x, *ys, *([by] if by else []))
    shown = [y for y in ys if table[y].notna().any()] or list(ys[:1])
    figure, axes = subplots(COLUMN if len(shown) == 1 else PAGE, 2.5, 1, len(shown))
    for axis, y in zip(axes, shown, strict=True):
        over_resamples(axis, table, x, y, by)
        describe_axes(axis, x_label or display_name(x), _result(y))
    legend(figure)
    return figure


def ablation_bars(
    table: pd.DataFrame, category: str, ys: Sequence[str] = ("auc", "gap"), by: str | None = None
) -> Figure:
    """Results under each of several named settings.

    Args:
        table: as for `ablation_lines`, with the column `category` for `x`; one marker per value of `by`.
    """
    table = require_columns(table, category, *ys, *([by] if by else []))
    names = list(dict.fromkeys(table[category]))
    shown = [y for y in ys if table[y].notna().any()] or list(ys[:1])
    parts = list(table.groupby(by, sort=False)) if by else [("", table)]
    height = (0.16 + 0.12 * len(parts)) * max(3, len(names)) + 0.9
    figure, axes = subplots(PAGE if len(shown) > 1 else PAGE * 0.7, height, 1, len(shown), sharey=True)
    for axis, y in zip(axes, shown, strict=True):
        for j, (part, rows) in enumerate(parts):
            found = by_value(rows, category, y)
            at = np.array([names.index(name) for name in found[category]]) + (j - (len(parts) - 1) / 2) * 0.24
            style: SeriesStyle = {**series(part, j), "ls": ""}
            axis.hlines(at, found["low"], found["high"], color=style["color"], lw=1.4)
            axis.plot(found["mean"], at, ms=4.5, label=display_name(part) if by else None, **style)
        if table[y].isna().all():
            no_data(axis)
        describe_axes(axis, _result(y))
    named_rows(axes[0], names)
    legend(figure)
    return figure


def _result(y: str) -> str:
    return {"auc": "AUC", "gap": "similarity gap", "p_value": "p-value"}.get(y, display_name(y))
