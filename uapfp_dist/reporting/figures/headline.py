"""AUC of methods on several data sets beside the paper's, or on several zoos."""

from textwrap import fill

import pandas as pd
from matplotlib.figure import Figure

from uapfp_dist.reporting.figures.columns import require_columns
from uapfp_dist.reporting.figures.marks import SeriesStyle, named_rows, reference_line, series
from uapfp_dist.reporting.figures.methods import NARROW
from uapfp_dist.reporting.figures.style import PAGE, describe_axes, display_name, legend, no_data, plain, subplots


def headline(table: pd.DataFrame, paper: pd.DataFrame) -> Figure:
    """A panel for each group of negatives, a row for each method, a mark for each data set or zoo.

    Args:
        table: columns `data`, `method`, `group` (homologous, other_victim, same_data, sibling), `mean`, `low`, `high`.
            Rows with NaN means are left out.
        paper: the paper's numbers, columns `data`, `method`, `group`, `mean`: a cross in the row of that method.
    """
    table = require_columns(table, "data", "method", "group", "mean", "low", "high")
    sets, methods, groups = (list(dict.fromkeys(table[c])) for c in ("data", "method", "group"))
    row, step = max(0.3, 0.085 * len(sets)), min(0.24, 0.8 / max(1, len(sets)))
    figure, axes = subplots(PAGE, row * max(3, len(methods)) + 1.1, 1, max(1, len(groups)), sharey=True)
    for axis, group in zip(axes, groups, strict=False):
        for i in range(1, len(methods), 2):
            axis.axhspan(i - 0.5, i + 0.5, color="#f3f3f3", lw=0, zorder=-1)
        for j, data in enumerate(sets):
            style: SeriesStyle = {**series(data, j), "ls": ""}
            shift = (j - (len(sets) - 1) / 2) * step
            mine, theirs = (frame[(frame["data"] == data) & (frame["group"] == group)] for frame in (table, paper))
            for _, row in mine.dropna(subset=["mean"]).iterrows():
                y = methods.index(row["method"]) + shift
                axis.plot([row["low"], row["high"]], [y, y], color=style["color"], lw=1.3, solid_capstyle="butt")
                axis.plot(row["mean"], y, **style, ms=4.5, label=plain(data))
            for _, row in theirs.dropna(subset=["mean"]).iterrows():
                y = methods.index(row["method"]) + shift
                axis.plot(row["mean"], y, "x", color=style["color"], ms=5, mew=1.2)
        reference_line(axis, 0.5, "chance", vertical=True)
        axis.set_xlim(-0.03, 1.03)
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
        describe_axes(axis, f"AUC against\n{fill(display_name(group), NARROW)}")
    named_rows(axes[0], methods)
    if table["mean"].isna().all():
        no_data(axes[0])
    if len(paper):
        axes[0].plot([], [], "x", color="black", ms=5, mew=1.2, label="the paper's")
    legend(figure)
    return figure
