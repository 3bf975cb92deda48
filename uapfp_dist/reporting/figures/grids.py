"""Heat maps of results over two settings."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from uapfp_dist.reporting.figures.columns import require_columns
from uapfp_dist.reporting.figures.style import PAGE, SMALL, describe_axes, display_name, no_data, plain, subplots

MAX_COLUMNS_SIDE_BY_SIDE = 8
"""With more columns, maps are drawn one below the other."""
MAX_COLUMNS_WITH_NUMBERS = 24
"""With more columns, numbers do not fit into the cells."""
COLOUR_RANGES = {"auc": (0.5, 1.0)}
"""By result; by default from the smallest to the largest value."""
RESULTS = {"auc": "AUC", "gap": "similarity gap"}
"""Columns of the results, `auc` in [0, 1] and `gap` in [-2, 2], to their names."""


def grid_maps(table: pd.DataFrame, x: str, y: str) -> Figure:
    """A heat map per result over two settings; a cell is the mean over its rows.

    Args:
        table: at least one row per cell, columns `x`, `y` and each of `RESULTS`; settings in their order of
            appearance.
        x: column of the setting along the x axis.
        y: column of the setting along the y axis, its first value on top.
    """
    table = require_columns(table, x, y, *RESULTS)
    columns, rows = (list(dict.fromkeys(table[name])) for name in (x, y))
    beside = len(columns) <= MAX_COLUMNS_SIDE_BY_SIDE
    shape = (1, len(RESULTS)) if beside else (len(RESULTS), 1)
    figure, axes = subplots(PAGE, (0.24 * max(3, len(rows)) + 0.9) * shape[0], *shape)
    for axis, (value, label) in zip(axes, RESULTS.items(), strict=True):
        fields = table.groupby([y, x], sort=False)[value].mean().unstack()
        body = fields.reindex(index=rows, columns=columns).to_numpy(float)
        _map(axis, body, COLOUR_RANGES.get(value))
        _ticks(axis, [_text(c) for c in columns], [_text(r) for r in rows])
        describe_axes(axis, display_name(x), display_name(y), label)
    return figure


def _map(axis: Axes, body: np.ndarray, limits: tuple[float, float] | None) -> None:
    if not np.isfinite(body).any():
        no_data(axis)
        return
    low, high = limits or (float(np.nanmin(body)), float(np.nanmax(body)))
    axis.imshow(body, cmap="cividis", vmin=low, vmax=high, aspect="auto")
    if body.shape[1] > MAX_COLUMNS_WITH_NUMBERS:
        return
    for (row, column), value in np.ndenumerate(body):
        if np.isfinite(value):
            light = value > (low + high) / 2
            text = f"{round(value, 2) + 0.0:.2f}".replace("0.", ".", 1)  # no minus before .00
            axis.text(column, row, text, ha="center", va="center", fontsize=SMALL, color="black" if light else "white")


def _ticks(axis: Axes, columns: list[str], rows: list[str]) -> None:
    long = max(map(len, columns), default=0) > 5
    axis.set_xticks(range(len(columns)), columns, fontsize=SMALL, rotation=90 if long else 0)
    axis.set_yticks(range(len(rows)), rows, fontsize=SMALL)
    axis.tick_params(length=0)


def _text(value: object) -> str:
    return plain(f"{value:g}" if isinstance(value, float) else value)
