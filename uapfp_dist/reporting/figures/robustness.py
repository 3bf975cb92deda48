"""The paper's Figure 8: similarity and accuracy after modifications."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from uapfp_dist.reporting.figures.columns import finite, require_columns
from uapfp_dist.reporting.figures.marks import marker_fill, named_rows, reference_line, scatter_offsets
from uapfp_dist.reporting.figures.style import (
    COLOURS,
    CYCLE,
    GREY,
    LABELS,
    MARKERS,
    PAGE,
    SHAPES,
    TEXT,
    describe_axes,
    display_name,
    legend,
    no_data,
    subplots,
)

UNMODIFIED = "unmodified"


def fig8_modifications(table: pd.DataFrame, threshold: float | None = None) -> Figure:
    """Figure 8 left: similarity after each modification, stolen and independent models.

    Args:
        table: one row per model and modification, columns `modification`, `role` (piracy, homologous, ...),
            `similarity`. Rows named "unmodified" come first, the others in their order of appearance.
        threshold: the similarity above which a claim is made.
    """
    table = require_columns(table, "modification", "role", "similarity").dropna(subset=["similarity"])
    names = _unmodified_first(table)
    roles = [role for role in LABELS if role in set(table["role"])]
    figure, (axis,) = subplots(PAGE, 0.18 * max(1, len(roles)) * max(2, len(names)) + 1.1)
    step = 0.8 / max(1, len(roles))
    for i, name in enumerate(names):
        if i % 2:
            axis.axhspan(i - 0.5, i + 0.5, color="#f3f3f3", lw=0, zorder=-1)
        for j, role in enumerate(roles):
            mine = (table["modification"] == name) & (table["role"] == role)
            values, y = finite(table.loc[mine, "similarity"]), i + (j - (len(roles) - 1) / 2) * step
            if not len(values):
                continue
            axis.scatter(
                values,
                y + scatter_offsets(len(values), step * 0.5),
                s=14,
                marker=MARKERS[role],
                facecolors=marker_fill(role),
                edgecolors=COLOURS[role],
                linewidths=0.8,
                label=LABELS[role],
            )
            axis.plot([values.mean()] * 2, [y - step * 0.42, y + step * 0.42], color="black", lw=1.6, zorder=4)
    named_rows(axis, names)
    if not names:
        no_data(axis)
    if threshold is not None and np.isfinite(threshold):
        reference_line(axis, threshold, "claim above", vertical=True)
    describe_axes(axis, "similarity to the victim; one mark per model, bar: mean")
    legend(figure)
    return figure


def _unmodified_first(table: pd.DataFrame) -> list[str]:
    names = list(dict.fromkeys(table["modification"]))
    return sorted(names, key=lambda name: name != UNMODIFIED)


def fig8_adversarial(table: pd.DataFrame) -> Figure:
    """Figure 8 right: similarity against iterations of adversarial training, and below it accuracy.

    Args:
        table: one row per model and stop, columns `iterations`, `role` (piracy, homologous), `similarity`, `accuracy`
            (in [0, 1], or NaN), and optionally `labels` (own, true: a column of panels each).
    """
    table = require_columns(table, "iterations", "role", "similarity", "accuracy")
    if "labels" not in table.columns:
        table = table.assign(labels="own")
    kinds = [k for k in ("own", "true") if k in set(table["labels"])] or ["own"]
    n = len(kinds)
    figure, axes = subplots(PAGE * (0.55 if n == 1 else 1), 3.9, 2, n, sharex=True, sharey="row", height_ratios=(3, 2))  # type: ignore[arg-type]
    for i, kind in enumerate(kinds):
        mine = table[table["labels"] == kind]
        for row, y in enumerate(("similarity", "accuracy")):
            axis = axes[row * n + i]
            for role in ("piracy", "homologous"):
                _progress(axis, mine[mine["role"] == role], y, role)
            if mine[y].isna().all():
                no_data(axis)
        describe_axes(axes[i], title=f"adversarial training, {'own' if kind == 'own' else 'true'} labels")
        axes[n + i].set_xlabel("iterations", fontsize=TEXT)
    axes[0].set_ylabel("similarity to the victim", fontsize=TEXT)
    axes[n].set_ylabel("accuracy", fontsize=TEXT)
    legend(figure)
    return figure


def _progress(axis: Axes, rows: pd.DataFrame, y: str, role: str) -> None:
    rows = rows.dropna(subset=[y, "iterations"])
    if rows.empty:
        return
    mean = rows.groupby("iterations")[y].mean()
    axis.scatter(rows["iterations"], rows[y], s=8, color=COLOURS[role], alpha=0.35, lw=0)
    axis.plot(
        mean.index,
        mean,
        "-" if role == "piracy" else "--",
        marker=MARKERS[role],
        mfc=marker_fill(role),
        color=COLOURS[role],
        ms=4.5,
        lw=1.4,
        label=f"{LABELS[role]} (line: mean)",
    )


def utility_similarity(table: pd.DataFrame) -> Figure:
    """Accuracy and similarity after each modification, joined by lines to the unmodified models.

    Args:
        table: one row per model and modification, columns `modification`, `role` (piracy, homologous), `accuracy` (in
            [0, 1]), `similarity`. Drawn: means over models, and every model as a dot.
    """
    table = require_columns(table, "modification", "role", "accuracy", "similarity").dropna(
        subset=["accuracy", "similarity"]
    )
    names = _unmodified_first(table)
    figure, (axis,) = subplots(PAGE, 3.6)
    means = table.groupby(["role", "modification"])[["accuracy", "similarity"]].mean()
    for i, name in enumerate(names):
        for role in ("piracy", "homologous"):
            if (role, name) not in means.index:
                continue
            x, y = means.loc[[(role, name)]].to_numpy(float)[0]
            mine = table[(table["role"] == role) & (table["modification"] == name)]
            colour = "black" if name == UNMODIFIED else CYCLE[i % len(CYCLE)]
            axis.scatter(mine["accuracy"], mine["similarity"], s=4, color=colour, alpha=0.4, lw=0)
            if name != UNMODIFIED and (role, UNMODIFIED) in means.index:
                before = means.loc[[(role, UNMODIFIED), (role, name)]]
                axis.plot(before["accuracy"], before["similarity"], color=GREY, lw=0.7, zorder=0)
            axis.scatter(
                x,
                y,
                s=42 if name != UNMODIFIED else 90,
                marker="*" if name == UNMODIFIED else SHAPES[i % len(SHAPES)],
                facecolors=colour if role == "piracy" else "white",
                edgecolors=colour,
                linewidths=1.1,
                zorder=3,
                label=display_name(name) if role == "piracy" or ("piracy", name) not in means.index else None,
            )
    if not names:
        no_data(axis)
    describe_axes(axis, "accuracy after the modification", "similarity to the victim after it")
    legend(figure, where="outside right center", title="filled: stolen, hollow: independent")
    return figure
