"""The common style of all figures: palette, sizes, axes and legend.

A figure is drawn at its final size, a column (3.35 in) or a page (6.9 in) wide, so that 7 pt here are 7 pt in print.
Colours are those of Okabe and Ito, and a violet; no colour carries a meaning alone: roles also differ in marker and
line, and stolen models are filled where negatives are hollow.
"""

from collections.abc import Sequence
from typing import Literal

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from uapfp_dist.reporting.model_names import NEGATIVES

COLUMN, PAGE = 3.35, 6.9
"""Widths in inches."""

TITLE, TEXT, SMALL = 8.5, 8.0, 7.0
"""Font sizes in points."""

DPI = 200

LegendPlace = Literal["outside upper center", "outside lower center", "outside right center"]

GREY = "#8a8a8a"
"""Of reference lines: chance, thresholds, the paper's claims."""

COLOURS = {
    "piracy": "#D55E00",
    "soft_piracy": "#E69F00",
    "homologous": "#0072B2",
    "calibration": "#56B4E9",
    "calibration_piracy": "#999999",
    "same_data": "#009E73",
    "other_victim_piracy": "#CC79A7",
    "other_victim": "#CC79A7",
    "sibling_piracy": "#6A3D9A",
    "sibling": "#6A3D9A",
    "victim": "#000000",
}

LABELS = {role: NEGATIVES[role] for role in COLOURS}

MARKERS = {
    "piracy": "o",
    "soft_piracy": "D",
    "homologous": "s",
    "calibration": "s",
    "calibration_piracy": "v",
    "same_data": "^",
    "other_victim_piracy": "v",
    "other_victim": "v",
    "sibling_piracy": "P",
    "sibling": "P",
    "victim": "*",
}

FILLED = ("piracy", "soft_piracy", "victim")
"""All other roles are drawn hollow."""

CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")

SHAPES = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "d")

LINES = ("-", "--", "-.", ":")


def subplots(
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
    """A figure of this size in inches and its axes, row by row."""
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
    """A name escaped for matplotlib: `$` starts no formula, a leading `_` hides nothing from the legend."""
    text = str(name).replace("$", r"\$")
    return f"\u200a{text}" if text.startswith("_") else text


def display_name(name: object) -> str:
    """The name of a role or group; of anything else, its underscores replaced by blanks."""
    return NEGATIVES.get(str(name), plain(str(name).strip("_").replace("_", " ")))


def describe_axes(axis: Axes, x: str = "", y: str = "", title: str = "") -> None:
    """Set axis labels and title in the common sizes."""
    axis.set_xlabel(x, fontsize=TEXT)
    axis.set_ylabel(y, fontsize=TEXT)
    if title:
        axis.set_title(title, fontsize=TITLE, loc="left")


def legend(
    figure: Figure, columns: int | None = None, *, where: LegendPlace = "outside upper center", title: str | None = None
) -> None:
    """One legend for all axes, outside of them."""
    found: dict[str, Artist] = {}
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


def no_data(axis: Axes, why: str = "nothing measured") -> None:
    """Mark a panel as empty on purpose."""
    axis.text(0.5, 0.5, why, transform=axis.transAxes, ha="center", va="center", fontsize=TEXT, color=GREY)
