"""AUC against the number of churn points."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from uapfp_dist.reporting.figures.columns import require_columns
from uapfp_dist.reporting.figures.marks import reference_line, series
from uapfp_dist.reporting.figures.style import PAGE, describe_axes, display_name, legend, no_data, subplots

APART = 1.03
"""Factor between the lines of two methods on the logarithmic axis, so that intervals do not overlap."""


def churn_auc(table: pd.DataFrame, panels: Mapping[str, str]) -> Figure:
    """AUC over the number of images sent, a line per method, a panel per group of negatives.

    Args:
        table: one row per method and budget, columns `method`, `images`, and of every panel `<auc>`, `<auc>_low`,
            `<auc>_high`. Rows of the same images are drawn once.
        panels: group of negatives to the column of its AUC.
    """
    columns = [name for auc in panels.values() for name in (auc, f"{auc}_low", f"{auc}_high")]
    table = require_columns(table, "method", "images", *columns).drop_duplicates(["method", "images"])
    figure, axes = subplots(PAGE, 2.9, 1, max(1, len(panels)), sharey=True)
    methods = list(dict.fromkeys(table["method"]))
    for axis, (group, auc) in zip(axes, panels.items(), strict=False):
        for i, method in enumerate(methods):
            shift = APART ** (i - (len(methods) - 1) / 2)
            _line(axis, table[table["method"] == method].dropna(subset=[auc]), auc, shift, i)
        reference_line(axis, 0.5)
        axis.set_xscale("log")
        axis.set_ylim(top=1.02)
        against = "all groups of negatives" if group == "all" else display_name(group)
        describe_axes(axis, "images sent", "AUC" if axis is axes[0] else "", f"against {against}")
        _ticks(axis, table["images"])
    if table.empty:
        no_data(axes[0])
    legend(figure)
    return figure


def _line(axis: Axes, rows: pd.DataFrame, auc: str, shift: float, i: int) -> None:
    if rows.empty:
        return
    low, high = (rows[f"{auc}_{side}"].fillna(rows[auc]) for side in ("low", "high"))
    error = np.maximum([rows[auc] - low, high - rows[auc]], 0)
    name = rows["method"].iloc[0]
    axis.errorbar(
        rows["images"] * shift,
        rows[auc],
        yerr=error,
        ms=4,
        lw=1.3,
        elinewidth=0.9,
        capsize=2,
        label=display_name(name),
        **series(name, i),
    )


def _ticks(axis: Axes, images: pd.Series) -> None:
    """Plain numbers."""
    largest = float(images.max()) if len(images) else 100.0
    ticks = [n for n in (10, 25, 50, 100, 200, 400, 1000, 2000, 5000) if n <= largest * 1.1]
    axis.set_xticks(ticks, [f"{n:,}" for n in ticks])
    axis.minorticks_off()
