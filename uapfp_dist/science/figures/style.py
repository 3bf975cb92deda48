"""The family look: one palette, one set of sizes, and the few marks that all figures are made of.

A figure is drawn at its final size, a column (3.35 in) or a page (6.9 in) wide, so that 7 pt here are 7 pt in print.
Colours are those of Okabe and Ito; no colour carries a meaning alone: roles also differ in marker and line, and
pirates are filled where innocents are hollow.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from uapfp_dist.errors import UserError

COLUMN, PAGE = 3.35, 6.9
"""Widths in inches."""
TITLE, TEXT, SMALL = 8.5, 8.0, 7.0
"""Sizes in points; nothing is smaller."""
DPI = 200
Where = Literal["outside upper center", "outside lower center", "outside right center"]
"""Of a legend."""
GREY = "#8a8a8a"
"""Of what is no data: chance, thresholds, the paper's claims."""

COLOURS = {
    "piracy": "#D55E00",
    "soft_piracy": "#E69F00",
    "homologous": "#0072B2",
    "calibration": "#56B4E9",
    "calibration_piracy": "#999999",
    "same_data": "#009E73",
    "other_victim_piracy": "#CC79A7",
    "other_victim": "#CC79A7",
    "victim": "#000000",
}
LABELS = {
    "piracy": "piracy",
    "soft_piracy": "piracy, soft labels",
    "homologous": "homologous",
    "calibration": "homologous (calibration)",
    "calibration_piracy": "piracy of others (calibration)",
    "same_data": "homologous, same data",
    "other_victim_piracy": "piracy of another victim",
    "other_victim": "piracy of another victim",
    "victim": "victim",
}
MARKERS = {
    "piracy": "o",
    "soft_piracy": "D",
    "homologous": "s",
    "calibration": "s",
    "calibration_piracy": "v",
    "same_data": "^",
    "other_victim_piracy": "v",
    "other_victim": "v",
    "victim": "*",
}
FILLED = ("piracy", "soft_piracy", "victim")
"""All other roles are drawn hollow."""
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
SHAPES = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "d")
LINES = ("-", "--", "-.", ":")


def canvas(
    width: float,
    height: float,
    rows: int = 1,
    columns: int = 1,
    *,
    sharex: bool = False,
    sharey: bool = False,
    height_ratios: Sequence[float] | None = None,
    width_ratios: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """A figure of so many inches and its axes, row by row."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=DPI)
    axes = figure.subplots(
        rows,
        columns,
        squeeze=False,
        sharex=sharex,
        sharey=sharey,
        height_ratios=height_ratios,
        width_ratios=width_ratios,
    )
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=SMALL, length=2.5)
    return figure, list(axes.flat)


def plain(name: object) -> str:
    """A name as it stands: a dollar sign begins no formula, a leading underscore hides nothing from the legend."""
    text = str(name).replace("$", r"\$")
    return f"\u200a{text}" if text.startswith("_") else text


def words(name: object) -> str:
    """A role's label, or a name with blanks for underscores."""
    return LABELS.get(str(name), plain(str(name).strip("_").replace("_", " ")))


def describe(axis: Axes, x: str = "", y: str = "", title: str = "") -> None:
    """Axis labels and a title, in the family's sizes."""
    axis.set_xlabel(x, fontsize=TEXT)
    axis.set_ylabel(y, fontsize=TEXT)
    if title:
        axis.set_title(title, fontsize=TITLE, loc="left")


def legend(
    figure: Figure, columns: int | None = None, *, where: Where = "outside upper center", title: str | None = None
) -> None:
    """One legend for all axes, around them and so never over data."""
    found: dict[str, Any] = {}
    for axis in figure.axes:
        for handle, text in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(text, handle)
    if not found:
        return
    figure.legend(
        list(found.values()),
        list(found),
        loc=where,
        ncols=1 if where == "outside right center" else columns or len(found),
        fontsize=SMALL,
        frameon=False,
        title=title,
        title_fontsize=TEXT,
        columnspacing=1.4,
        handletextpad=0.5,
    )


def nothing(axis: Axes, why: str = "nothing measured") -> None:
    """Says that a panel is empty on purpose."""
    axis.text(0.5, 0.5, why, transform=axis.transAxes, ha="center", va="center", fontsize=TEXT, color=GREY)


def reference(axis: Axes, value: float, text: str = "", *, vertical: bool = False) -> None:
    """A thin line for a threshold, chance, or a number of the paper; its text at the right, or on top."""
    draw = axis.axvline if vertical else axis.axhline
    draw(value, color=GREY, lw=0.8, ls=(0, (4, 2)), zorder=0)
    if text and vertical:
        where: dict[str, Any] = {
            "xy": (value, 1),
            "xycoords": ("data", "axes fraction"),
            "ha": "center",
            "va": "bottom",
        }
        axis.annotate(text, xytext=(0, 1), textcoords="offset points", fontsize=SMALL, color="#555555", **where)
    elif text:
        beside(axis, text, value)


def beside(axis: Axes, text: str, y: float) -> None:
    """A note right of the axes, on height `y`."""
    where = ("axes fraction", "data")
    axis.annotate(text, (1.04, y), xycoords=where, va="center", fontsize=SMALL, annotation_clip=False)


def face(role: str) -> str:
    """What a marker of this role is filled with."""
    return COLOURS.get(role, CYCLE[-1]) if role in FILLED else "white"


def series(name: object, i: int) -> dict[str, Any]:
    """Colour, marker and line of the i-th series: a role keeps its own."""
    role = str(name)
    if role in COLOURS:
        return {"color": COLOURS[role], "marker": MARKERS[role], "mfc": face(role), "ls": LINES[i % len(LINES)]}
    colour = CYCLE[i % len(CYCLE)]
    fill = colour if i % 2 == 0 else "white"
    return {"color": colour, "marker": SHAPES[i % len(SHAPES)], "mfc": fill, "ls": LINES[i % len(LINES)]}


def finite(values: Iterable[float | None]) -> np.ndarray:
    """(N,) floats without what was not measured."""
    found = np.array([np.nan if value is None else value for value in values], dtype=float).ravel()
    return found[np.isfinite(found)]


def scatter_offsets(n: int, spread: float = 0.5) -> np.ndarray:
    """(n,) offsets in [-spread/2, spread/2] that keep equal values apart: a golden-ratio sequence, nothing random."""
    return (np.arange(n) * 0.6180339887 % 1 - 0.5) * spread


def strip(axis: Axes, values: Iterable[float | None], y: float, role: str, *, spread: float = 0.4) -> None:
    """One mark for every model beside each other on height `y`, and a bar at their mean."""
    found = finite(values)
    if not len(found):
        return
    axis.scatter(
        found,
        y + scatter_offsets(len(found), spread),
        s=16,
        marker=MARKERS.get(role, "o"),
        facecolors=face(role),
        edgecolors=COLOURS.get(role, CYCLE[-1]),
        linewidths=0.9,
        alpha=0.85,
        clip_on=False,
        label=LABELS.get(role, role),
    )
    axis.plot([found.mean()] * 2, [y - 0.32, y + 0.32], color="black", lw=1.6, solid_capstyle="butt", zorder=4)


def named_rows(axis: Axes, names: Sequence[object]) -> None:
    """Names on the y axis, the first one on top."""
    axis.set_yticks(range(len(names)), [words(name) for name in names], fontsize=TEXT)
    axis.set_ylim(max(len(names), 1) - 0.4, -0.6)


def need(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The table; an empty one may lack columns.

    Raises:
        UserError: rows without one of the columns.
    """
    missing = [c for c in columns if c not in table.columns]
    if missing and len(table):
        got = ", ".join(map(str, table.columns))
        raise UserError(
            f"a figure needs the columns {', '.join(columns)}; the table lacks {', '.join(missing)} (it has {got})"
        )
    return table if not missing else pd.DataFrame({c: pd.Series(dtype=float) for c in columns})


def by_value(table: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """One row per value of `x` with columns x, mean, low, high of `y`, in the order of appearance.

    The interval is given by the columns `<y>_low` and `<y>_high` where the table has them (the mean alone where they
    are empty), else it is the range over the rows, which are draws.
    """
    low, high = (f"{y}_low", f"{y}_high") if {f"{y}_low", f"{y}_high"} <= set(table.columns) else (y, y)
    columns = list(dict.fromkeys([x, y, low, high]))
    usable = table[columns].dropna(subset=[x, y])
    grouped = usable.groupby(x, sort=False)
    found = pd.DataFrame({"mean": grouped[y].mean(), "low": grouped[low].min(), "high": grouped[high].max()})
    bounds = {side: pd.to_numeric(found[side]).fillna(found["mean"]) for side in ("low", "high")}
    return found.assign(**bounds).reset_index()
