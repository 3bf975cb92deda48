"""Marks shared by all figures."""

from collections.abc import Iterable, Sequence
from typing import TypedDict

import numpy as np
from matplotlib.axes import Axes

from uapfp_dist.reporting.figures.columns import finite
from uapfp_dist.reporting.figures.style import (
    COLOURS,
    CYCLE,
    FILLED,
    GREY,
    LABELS,
    LINES,
    MARKERS,
    SHAPES,
    SMALL,
    TEXT,
    display_name,
)


def reference_line(axis: Axes, value: float, text: str = "", *, vertical: bool = False) -> None:
    """A thin line for a threshold, chance, or a number of the paper, with its text at the right or on top."""
    draw_line = axis.axvline if vertical else axis.axhline
    draw_line(value, color=GREY, lw=0.8, ls=(0, (4, 2)), zorder=0)
    if text and vertical:
        axis.annotate(
            text,
            (value, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 1),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=SMALL,
            color="#555555",
        )
    elif text:
        annotate_right(axis, text, value)


def annotate_right(axis: Axes, text: str, y: float) -> None:
    """A note right of the axes, at height `y`."""
    where = ("axes fraction", "data")
    axis.annotate(text, (1.04, y), xycoords=where, va="center", fontsize=SMALL, annotation_clip=False)


def marker_fill(role: str) -> str:
    """The fill colour of a role's markers."""
    return COLOURS.get(role, CYCLE[-1]) if role in FILLED else "white"


class SeriesStyle(TypedDict):
    """How a series is drawn: keywords of matplotlib."""

    color: str
    marker: str
    mfc: str
    ls: str


def series(name: object, i: int) -> SeriesStyle:
    """Colour, marker and line of the i-th series: a role keeps its own."""
    role = str(name)
    if role in COLOURS:
        return {"color": COLOURS[role], "marker": MARKERS[role], "mfc": marker_fill(role), "ls": LINES[i % len(LINES)]}
    colour = CYCLE[i % len(CYCLE)]
    fill = colour if i % 2 == 0 else "white"
    return {"color": colour, "marker": SHAPES[i % len(SHAPES)], "mfc": fill, "ls": LINES[i % len(LINES)]}


def scatter_offsets(n: int, spread: float) -> np.ndarray:
    """(n,) offsets in [-spread/2, spread/2] that keep equal values apart: a golden-ratio sequence, nothing random."""
    return (np.arange(n) * 0.6180339887 % 1 - 0.5) * spread


def strip(axis: Axes, values: Iterable[float | None], y: float, role: str) -> None:
    """One mark per model, side by side at height `y`, and a bar at their mean."""
    found = finite(values)
    if not len(found):
        return
    axis.scatter(
        found,
        y + scatter_offsets(len(found), 0.4),
        s=16,
        marker=MARKERS.get(role, "o"),
        facecolors=marker_fill(role),
        edgecolors=COLOURS.get(role, CYCLE[-1]),
        linewidths=0.9,
        alpha=0.85,
        clip_on=False,
        label=LABELS.get(role, role),
    )
    axis.plot([found.mean()] * 2, [y - 0.32, y + 0.32], color="black", lw=1.6, solid_capstyle="butt", zorder=4)


def named_rows(axis: Axes, names: Sequence[object]) -> None:
    """Names on the y axis, the first one on top."""
    axis.set_yticks(range(len(names)), [display_name(name) for name in names], fontsize=TEXT)
    axis.set_ylim(max(len(names), 1) - 0.4, -0.6)
