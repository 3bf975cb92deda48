"""Figure 6 right: similarity against recovery rate; and the same of every method."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from uapfp_dist.reporting.figures.columns import finite, require_columns
from uapfp_dist.reporting.figures.marks import reference_line, series
from uapfp_dist.reporting.figures.style import (
    COLOURS,
    COLUMN,
    PAGE,
    TEXT,
    describe_axes,
    display_name,
    legend,
    no_data,
    subplots,
)

RECOVERY_EDGES = np.round(np.arange(0.78, 0.941, 0.02), 2)
"""Figure 6 right: eight bins."""


def fig6_recovery(table: pd.DataFrame, alpha: float = 0.05) -> Figure:
    """Figure 6 right: similarity against recovery rate, in bins of .02 over [.78, .94].

    Args:
        table: one row per model, columns `role`, `similarity`, `recovery` (of stolen models; ignored for others), and
            optionally `p_value`, which adds a panel.
        alpha: the level drawn beside the p-values.
    """
    table = require_columns(table, "role", "recovery", "similarity")
    stolen = table[table["role"] == "piracy"].dropna(subset=["recovery", "similarity"])
    with_p = "p_value" in stolen.columns and bool(stolen["p_value"].notna().any())
    rows, height = (2, 3.9) if with_p else (1, 2.6)
    figure, axes = subplots(COLUMN, height, rows, 1, sharex=True, height_ratios=(2, 1)[:rows])
    _level(axes[0], finite(table.loc[table["role"] == "homologous", "similarity"]))
    recovery = stolen["recovery"].to_numpy(float)
    _binned(axes[0], recovery, stolen["similarity"].to_numpy(float))
    describe_axes(axes[0], y="similarity to the victim")
    if stolen.empty:
        no_data(axes[0], "no stolen model measured")
    if with_p:
        _p_values(axes[1], recovery, stolen["p_value"].to_numpy(float), alpha)
        reference_line(axes[1], alpha)
        describe_axes(axes[1], y=f"p-value\n(line: {alpha:g})")
    axes[0].set_xlim(min([0.77, *recovery - 0.01]), max([0.95, *recovery + 0.01]))
    low = min([0.78, *recovery])
    axes[0].set_xticks([0.78, 0.82, 0.86, 0.9, 0.94] if low > 0.7 else np.arange(np.ceil(low * 10), 11) / 10)
    axes[-1].set_xlabel("recovery: accuracy / victim's accuracy", fontsize=TEXT)
    legend(figure, 2)
    return figure


def _level(axis: Axes, values: np.ndarray) -> None:
    """Independent models as a band: mean and one standard deviation."""
    if len(values):
        mean, std = values.mean(), values.std()
        colour = COLOURS["homologous"]
        axis.axhspan(mean - std, mean + std, color=colour, alpha=0.18, lw=0, label="independent, mean ± std")
        axis.axhline(mean, color=colour, lw=1.1, ls="--")


def _binned(axis: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Every model as a point, with mean and standard deviation of every bin that is not empty."""
    usable = np.isfinite(x) & np.isfinite(y)
    x, y = x[usable], y[usable]
    if not len(x):
        return
    colour = COLOURS["piracy"]
    axis.scatter(x, y, s=6, color=colour, alpha=0.45, lw=0, label="stolen, each model")
    which = recovery_bin(x)
    bins = [b for b in range(len(RECOVERY_EDGES) - 1) if (which == b).any()]
    if bins:
        axis.errorbar(
            [RECOVERY_EDGES[b] + 0.01 for b in bins],
            [y[which == b].mean() for b in bins],
            yerr=[y[which == b].std() for b in bins],
            fmt="-o",
            color="black",
            ms=4,
            mfc=colour,
            lw=1.2,
            capsize=2,
            label="stolen, mean ± std of a bin",
        )


def recovery_bin(recovery: np.ndarray) -> np.ndarray:
    """Index of each rate's bin in `RECOVERY_EDGES`; -1 below the first edge, the number of bins above the last."""
    which = np.digitize(np.round(recovery, 9), RECOVERY_EDGES) - 1
    # The last edge belongs to the last bin.
    return np.where(np.isclose(recovery, RECOVERY_EDGES[-1]), len(RECOVERY_EDGES) - 2, which)


def _p_values(axis: Axes, x: np.ndarray, p: np.ndarray, alpha: float) -> None:
    """Every model and the medians of the bins, on a logarithmic axis that reaches below `alpha`, too."""
    usable = np.isfinite(x) & np.isfinite(p)
    x, p = x[usable], np.maximum(p[usable], 1e-4)
    which = recovery_bin(x)
    bins = [b for b in range(len(RECOVERY_EDGES) - 1) if (which == b).any()]
    medians = [np.median(p[which == b]) for b in bins]
    axis.set_yscale("log")
    axis.scatter(x, p, s=6, color=COLOURS["piracy"], alpha=0.45, lw=0)
    axis.plot(
        [RECOVERY_EDGES[b] + 0.01 for b in bins], medians, "--D", ms=3, lw=1, color="black", label="median of a bin"
    )
    bottom = min(p.min(), alpha) / 2
    ticks = [t for t in (1e-4, 1e-3, 0.01, 0.05, 0.2, 1.0) if t >= bottom]
    axis.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set_ylim(bottom, 1.5)


def recovery_methods(table: pd.DataFrame, similarities: Sequence[str], areas: Sequence[str]) -> Figure:
    """Similarity by some methods and AUC by others, against the recovery rate at which extractions were stopped.

    Args:
        table: one row per method and level, columns `method`, `recovery`, `similarity`, and `auc_homologous` with its
            interval `_low`, `_high`; `auc_sibling`, where there is one, adds a panel.
        similarities, areas: methods that the first panel and the others draw, in this order; those not in the table
            are left out.
    """
    groups = ["homologous", *(["sibling"] if "auc_sibling" in table.columns else [])]
    table = require_columns(table, "method", "recovery", "similarity", *(f"auc_{group}" for group in groups))
    figure, axes = subplots(PAGE, 3.1, 1, 1 + len(groups), sharex=True)
    order = list(dict.fromkeys((*areas, *similarities)))
    panels = [("similarity", similarities), *((f"auc_{group}", areas) for group in groups)]
    for axis, (column, methods) in zip(axes, panels, strict=True):
        for method in methods:
            _by_recovery(axis, table[table["method"] == method], column, order.index(method))
        if not axis.lines:
            no_data(axis)
        axis.set_ylim(top=1.03)
    describe_axes(axes[0], y="similarity to the victim", title="encoders")
    for axis, group in zip(axes[1:], groups, strict=True):
        reference_line(axis, 0.5)
        describe_axes(axis, y="AUC", title=f"against {display_name(group)}")
    for axis in axes:
        axis.set_xlabel("recovery", fontsize=TEXT)
    legend(figure, 5)
    return figure


def _by_recovery(axis: Axes, rows: pd.DataFrame, column: str, i: int) -> None:
    rows = rows.dropna(subset=["recovery", column]).sort_values("recovery")
    if rows.empty:
        return
    name = rows["method"].iloc[0]
    axis.plot(rows["recovery"], rows[column], ms=3.5, lw=1.2, label=display_name(name), **series(name, i))
    if f"{column}_low" in rows:
        low, high = (rows[f"{column}_{side}"].fillna(rows[column]) for side in ("low", "high"))
        axis.vlines(rows["recovery"], low, high, color=series(name, i)["color"], lw=0.7, alpha=0.5)
