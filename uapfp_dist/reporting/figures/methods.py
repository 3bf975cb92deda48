"""AUC of every method."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from uapfp_dist.reporting.figures.columns import require_columns
from uapfp_dist.reporting.figures.marks import annotate_right, named_rows, reference_line
from uapfp_dist.reporting.figures.style import (
    CYCLE,
    PAGE,
    SMALL,
    describe_axes,
    display_name,
    legend,
    no_data,
    subplots,
)

OURS = "uap"
"""Methods whose names begin so are UAP fingerprints; all others are references."""

WIDE, NARROW = 3, 17
"""So many panels have room for a name in one line; where there are more it has lines of so many characters."""


def auc_bars(areas: Mapping[str, Mapping[str, tuple[float, float, float]]]) -> Figure:
    """AUC with 95 % intervals over models, by method and group of negatives.

    Args:
        areas: method to group to (mean, low, high).
    """
    rows = [(m, g, *cell) for m, groups in areas.items() for g, cell in groups.items()]
    return methods_auc(pd.DataFrame(rows, columns=["method", "group", "mean", "low", "high"]))


def methods_auc(table: pd.DataFrame) -> Figure:
    """All methods: AUC against each group of negatives, with its interval.

    Args:
        table: columns `method`, `group` (homologous, other_victim, same_data, sibling), `mean`, `low`, `high`; optional
            `queries` (images sent to a suspect, printed at the right) and `budget` (a name: "own", "equal", ...; rows
            of the second and later budgets are drawn hollow, below). Rows with NaN are left out.
    """
    table = require_columns(table, "method", "group", "mean", "low", "high")
    if "budget" not in table.columns:
        table = table.assign(budget="")
    methods, groups = (list(dict.fromkeys(table[c])) for c in ("method", "group"))
    budgets = list(dict.fromkeys(table["budget"]))
    height = (0.19 if len(budgets) < 2 else 0.27) * max(3, len(methods)) + 1.0
    figure, axes = subplots(PAGE, height, 1, max(1, len(groups)), sharey=True)
    for axis, group in zip(axes, groups, strict=False):
        for i in range(1, len(methods), 2):
            axis.axhspan(i - 0.5, i + 0.5, color="#f3f3f3", lw=0, zorder=-1)
        for j, budget in enumerate(budgets):
            shift = (j - (len(budgets) - 1) / 2) * 0.36
            rows = table[(table["group"] == group) & (table["budget"] == budget)].dropna(subset=["mean"])
            for _, row in rows.iterrows():
                y = methods.index(row["method"]) + shift
                _dot(axis, row, y, str(row["method"]).startswith(OURS), j == 0)
        reference_line(axis, 0.5, "chance", vertical=True)
        axis.set_xlim(-0.03, 1.03)
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
        name = display_name(group)
        describe_axes(axis, f"AUC against\n{name if len(groups) <= WIDE else fill(name, NARROW)}")
    named_rows(axes[0], methods)
    if not methods:
        no_data(axes[0])
    _queries(axes[-1], table, methods)
    axes[0].plot([], [], "o", color=CYCLE[1], ms=4.5, label="UAP fingerprints")
    axes[0].plot([], [], "s", color=CYCLE[0], ms=4.5, label="other methods")
    for j, budget in enumerate(budgets if len(budgets) > 1 else ()):
        axes[0].plot(
            [], [], "D", mfc="black" if j == 0 else "white", color="black", ms=4, label=f"{display_name(budget)} budget"
        )
    legend(figure)
    return figure


def _dot(axis: Axes, row: pd.Series, y: float, ours: bool, filled: bool) -> None:
    colour = CYCLE[1] if ours else CYCLE[0]
    axis.plot([row["low"], row["high"]], [y, y], color=colour, lw=1.4, solid_capstyle="butt")
    axis.plot(row["mean"], y, "o" if ours else "s", color=colour, mfc=colour if filled else "white", ms=4.5)


def _queries(axis: Axes, table: pd.DataFrame, methods: Sequence[str]) -> None:
    """Images sent, right of the last panel."""
    if "queries" not in table.columns or table["queries"].isna().all():
        return
    queried = table.dropna(subset=["queries"]).groupby("method", sort=False)["queries"].max()
    for y, method in enumerate(methods):
        if method in queried.index:
            annotate_right(axis, f"{int(queried[method]):,}", y)
    axis.annotate("images", (1.04, 1), xycoords="axes fraction", va="bottom", fontsize=SMALL, color="#555555")
