"""Tables 2 and 3 of the paper beside our results, as a figure."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from uapfp_dist.reporting.figures.columns import finite, require_columns
from uapfp_dist.reporting.figures.style import (
    COLOURS,
    LABELS,
    MARKERS,
    PAGE,
    SMALL,
    describe_axes,
    legend,
    no_data,
    plain,
    subplots,
)


def table_vs_paper(ours: pd.DataFrame, published: pd.DataFrame) -> Figure:
    """Tables 2 and 3 as a figure: mean and standard deviation of similarity, the paper's hollow.

    Args:
        ours: one row per architecture and optimizer, columns `architecture`, `optimizer`, `piracy_mean`, `piracy_std`,
            `homologous_mean`, `homologous_std`; NaN where nothing was measured.
        published: the same, as `paper.table` gives it; optimizer None where the paper has none.
    """
    key = ["architecture", "optimizer"]
    columns = [*key, *(f"{role}_{what}" for role in ("piracy", "homologous") for what in ("mean", "std"))]
    sides = [require_columns(side, *columns) for side in (published, ours)]
    both = pd.concat(sides)
    order = list(dict.fromkeys(both["architecture"]))
    names = sorted(dict.fromkeys(both.apply(_row_name, axis=1)), key=lambda name: order.index(name.split(", ")[0]))
    figure, (axis,) = subplots(PAGE * 0.8, 0.27 * max(2, len(names)) + 1.0)
    for i in range(1, len(names), 2):
        axis.axhspan(i - 0.5, i + 0.5, color="#f3f3f3", lw=0, zorder=-1)
    for side, whose, shift in ((sides[1], "ours", -0.17), (sides[0], "paper", 0.17)):
        for _, row in side.iterrows():
            for role in ("piracy", "homologous"):
                _mean_std(axis, row, role, names.index(_row_name(row)) + shift, whose)
    axis.set_yticks(range(len(names)), [plain(name) for name in names], fontsize=SMALL)
    axis.set_ylim(max(len(names), 1) - 0.4, -0.6)
    if not names:
        no_data(axis)
    low, high = _reach(both)
    axis.set_xlim(min(0.0, low) - 0.03, max(1.0, high) + 0.03)
    describe_axes(axis, "similarity to the victim, mean ± std")
    legend(figure, 2)
    return figure


def _reach(table: pd.DataFrame) -> tuple[float, float]:
    """Lowest and highest end of mean ± std; of an empty table 0 and 1."""
    ends = [0.0, 1.0]
    for role in ("piracy", "homologous"):
        mean, std = table[f"{role}_mean"].astype(float), table[f"{role}_std"].astype(float).fillna(0.0)
        ends += [*finite(mean - std), *finite(mean + std)]
    return min(ends), max(ends)


def _row_name(row: pd.Series) -> str:
    optimizer = row["optimizer"]
    return f"{row['architecture']}" if pd.isna(optimizer) or not optimizer else f"{row['architecture']}, {optimizer}"


def _mean_std(axis: Axes, row: pd.Series, role: str, y: float, whose: str) -> None:
    mean, std = row[f"{role}_mean"], row[f"{role}_std"]
    if pd.isna(mean):
        return
    std = 0.0 if pd.isna(std) else std
    colour = COLOURS[role]
    axis.plot([mean - std, mean + std], [y, y], color=colour, lw=1.5 if whose == "ours" else 0.9)
    axis.plot(
        mean,
        y,
        MARKERS[role],
        color=colour,
        mfc=colour if whose == "ours" else "white",
        ms=5,
        clip_on=False,
        label=f"{LABELS[role]}, {whose}",
    )
