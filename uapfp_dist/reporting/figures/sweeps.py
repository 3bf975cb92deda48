"""Figure 6 left: similarity gap and AUC against the number of points or of confidences."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from uapfp_dist.reporting.figures.columns import by_value, finite, require_columns
from uapfp_dist.reporting.figures.marks import SeriesStyle, reference_line, series
from uapfp_dist.reporting.figures.style import (
    PAGE,
    SMALL,
    TEXT,
    describe_axes,
    display_name,
    legend,
    no_data,
    subplots,
)

BARE_LABEL = 0
"""The value of `top_k` that stands for a response without any confidence."""


def over_resamples(axis: Axes, table: pd.DataFrame, x: str, y: str, by: str | None, prefix: str = "") -> None:
    """Means with the intervals of `by_value`, a labelled line for each value of `by`."""
    parts = list(table.groupby(by, sort=False)) if by else [("", table)]
    # Shifted by a hundredth of the axis, so that intervals do not overlap.
    step = 0.012 * float(np.ptp(finite(table[x]))) if len(finite(table[x])) else 0.0
    for i, (name, rows) in enumerate(parts):
        line_label = prefix + display_name(name) if by else None
        _line(
            axis, by_value(rows, x, y).sort_values(x), x, (i - (len(parts) - 1) / 2) * step, series(name, i), line_label
        )
    if table[y].isna().all():
        no_data(axis)


def _line(axis: Axes, rows: pd.DataFrame, x: str, shift: float, style: SeriesStyle, label: str | None) -> None:
    if rows.empty:
        return
    error = np.maximum([rows["mean"] - rows["low"], rows["high"] - rows["mean"]], 0)
    axis.errorbar(
        rows[x] + shift, rows["mean"], yerr=error, ms=4, lw=1.3, elinewidth=0.9, capsize=2, label=label, **style
    )


def _gap_and_auc(axes: list[Axes], table: pd.DataFrame, x: str) -> None:
    """Gap in the first axis, AUC in the second, a line per group of negatives where the table has a column `group`."""
    for axis, y in zip(axes, ("gap", "auc"), strict=True):
        over_resamples(axis, table, x, y, "group" if "group" in table.columns else None, "against ")
    describe_axes(axes[0], y="similarity gap")
    describe_axes(axes[1], y="AUC")


def fig6_n_points(table: pd.DataFrame) -> Figure:
    """Figure 6 left: similarity gap and AUC against the number of points of a fingerprint.

    Args:
        table: one row per value, columns `n_points`, `gap` (mean similarity of stolen minus that of independent models,
            in [-2, 2]), `auc`, and their intervals `gap_low`, `gap_high`, `auc_low`, `auc_high`; without these one row
            per resample: mean and range are drawn. Optional: `group` (of negatives: a line each).
    """
    table = require_columns(table, "n_points", "gap", "auc")
    figure, axes = subplots(PAGE, 2.4, 1, 2, sharex=True)
    _gap_and_auc(axes, table, "n_points")
    for axis in axes:
        reference_line(axis, 70, "paper: plateau", vertical=True)
        axis.set_xlim(left=0)
        axis.set_xlabel("points per fingerprint", fontsize=TEXT)
    legend(figure)
    return figure


def fig6_top_k(table: pd.DataFrame, confidence: Mapping[int, float] | None = None) -> Figure:
    """Figure 6 left: similarity gap and AUC against how many confidences the suspect returns.

    Args:
        table: as for `fig6_n_points`, with `top_k` from 1 to the number of classes; 0 is the bare label.
        confidence: top_k to the mean sum of the k largest confidences.
    """
    table = require_columns(table, "top_k", "gap", "auc")
    confidence = {k: v for k, v in (confidence or {}).items() if k != BARE_LABEL and np.isfinite(v)}
    n = 3 if confidence else 2
    figure, axes = subplots(PAGE, 2.3, 1, n)
    values = sorted({int(k) for k in table["top_k"].dropna()} | set(confidence))
    # Extra space for the bare label: its name is wide.
    place = {k: i - 0.8 * (k == BARE_LABEL) for i, k in enumerate(values)}
    _gap_and_auc(axes[:2], table.assign(place=table["top_k"].map(place)), "place")
    if confidence:
        ks = sorted(confidence)
        axes[2].plot([place[k] for k in ks], [confidence[k] for k in ks], "-o", ms=4, lw=1.3, color="black")
        describe_axes(axes[2], y="mean sum of the top k")
        if 3 in confidence:
            axes[2].annotate(
                f"top 3: {confidence[3]:.4f}\n(paper: .9996)",
                (0.97, 0.06),
                xycoords="axes fraction",
                ha="right",
                fontsize=SMALL,
            )
    shown = values if len(values) <= 12 else [values[i] for i in np.linspace(0, len(values) - 1, 8).astype(int)]
    for axis in axes:
        axis.set_xticks([place[k] for k in shown], ["label" if k == BARE_LABEL else str(k) for k in shown])
        if values:
            axis.set_xlim(min(place.values()) - 0.5, len(values) - 0.5)
        axis.set_xlabel("confidences returned (k)", fontsize=TEXT)
    legend(figure)
    return figure
