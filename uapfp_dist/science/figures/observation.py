"""The paper's Figures 2, 5, 6 and 7: why it works, how well it separates, and what that depends on."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from uapfp_dist.science.figures.style import (
    COLOURS,
    COLUMN,
    CYCLE,
    LABELS,
    LINES,
    MARKERS,
    PAGE,
    SHAPES,
    SMALL,
    TEXT,
    TITLE,
    by_value,
    canvas,
    describe,
    face,
    finite,
    legend,
    named_rows,
    need,
    nothing,
    plain,
    reference,
    series,
    strip,
    words,
)

BARE_LABEL = 0
"""The value of `top_k` that stands for an answer without any confidence."""
RECOVERY_EDGES = np.round(np.arange(0.78, 0.941, 0.02), 2)
"""Figure 6 right: eight bins."""


def fig2a_projections(energies: Mapping[str, np.ndarray]) -> Figure:
    """Figure 2a: mean squared projections of unit UAPs on the victim's first principal directions.

    Args:
        energies: role (victim, piracy, homologous) to (models, K) values in [0, 1] on K >= 1 directions, of which the
            first 5 are drawn: mean and standard deviation over models.
    """
    figure, (axis,) = canvas(COLUMN, 2.6)
    usable = {r: np.atleast_2d(np.asarray(e, dtype=float))[:, :5] for r, e in energies.items()}
    usable = {role: rows[np.isfinite(rows).all(1)] for role, rows in usable.items()}
    usable = {role: rows for role, rows in usable.items() if rows.size}
    for i, (role, rows) in enumerate(usable.items()):
        # Beside each other, so that error bars stay apart.
        x = np.arange(1, rows.shape[1] + 1) + (i - (len(usable) - 1) / 2) * 0.14
        axis.errorbar(
            x,
            rows.mean(0),
            yerr=rows.std(0) if len(rows) > 1 else None,
            fmt=LINES[i % len(LINES)],
            marker=MARKERS.get(role, "o"),
            ms=7 if role == "victim" else 4,
            mfc=face(role),
            color=COLOURS.get(role, CYCLE[-1]),
            lw=1.1,
            elinewidth=1.1,
            capsize=2,
            label=f"{words(role)} ({len(rows)})",
        )
    if not usable:
        nothing(axis)
    axis.set_xticks(range(1, 6))
    axis.set_xlim(0.5, 5.5)
    axis.set_ylim(bottom=0)
    describe(axis, "principal direction of the victim's UAPs", "mean squared projection")
    legend(figure)
    return figure


def fig2b_inconsist(inconsist: Mapping[str, Iterable[float]]) -> Figure:
    """Figure 2b: Inconsist (Eq. 5) of every model; the title gives the ratio of means.

    Args:
        inconsist: role to one value per model, >= 0.
    """
    found = {role: values for role, v in inconsist.items() if len(values := finite(v))}
    figure, (axis,) = canvas(COLUMN, 0.42 * max(2, len(found)) + 0.9)
    for y, (role, values) in enumerate(found.items()):
        strip(axis, values, y, role)
    named_rows(axis, list(found))
    if {"piracy", "homologous"} <= set(found) and found["piracy"].mean() > 0:
        ratio = found["homologous"].mean() / found["piracy"].mean()
        figure.suptitle(f"homologous / piracy: {ratio:.2g} (paper: about 3)", fontsize=TITLE)
    if not found:
        nothing(axis)
    axis.set_xlim(left=0)
    describe(axis, "Inconsist (Eq. 5), bar: mean")
    return figure


def similarity_cdf(similarities: Mapping[str, Mapping[str, np.ndarray]], title: str) -> Figure:
    """Figure 5: distribution of fingerprint similarity by architecture.

    Args:
        similarities: architecture to role to all similarities of its fingerprints.
    """
    n = max(1, len(similarities))
    columns = min(n, 4)
    rows = -(-n // columns)
    figure, axes = canvas(max(COLUMN, PAGE * columns / 4), 2.1 * rows + 0.5, rows, columns, sharex=True, sharey=True)
    for axis, (architecture, roles) in zip(axes, sorted(similarities.items()), strict=False):
        for role, values in roles.items():
            _cdf(axis, values, COLOURS[role], "-" if role == "piracy" else "--", MARKERS[role], face(role), words(role))
        axis.set_title(plain(architecture), fontsize=TEXT)
    for i in range(n, len(axes)):
        axes[i].set_visible(False)
        axes[i - columns].tick_params(labelbottom=True)
    if not similarities:
        nothing(axes[0])
    _cdf_axes(axes)
    figure.supxlabel("similarity", fontsize=TEXT)
    figure.supylabel("share of fingerprints at or below", fontsize=TEXT)
    legend(figure, title=plain(title))
    return figure


def fig7_uap_vs_lap(similarities: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Figure 7: distribution of similarity with universal and with local perturbations, piracy beside homologous.

    Args:
        similarities: name of the perturbation, with its norm ("UAP at xi", "LAP, minimal", ...), to role (piracy,
            homologous) to the similarities of all fingerprints.
    """
    figure, axes = canvas(PAGE, 2.6, 1, 2, sharex=True, sharey=True)
    for axis, role in zip(axes, ("piracy", "homologous"), strict=True):
        for i, (name, roles) in enumerate(similarities.items()):
            colour = CYCLE[(1, 0, 2, 3, 4)[i % 5]]
            _cdf(
                axis,
                roles.get(role, ()),
                colour,
                LINES[i % 4],
                SHAPES[i % len(SHAPES)],
                "white" if i else colour,
                words(name),
            )
        if not axis.lines:
            nothing(axis)
        describe(axis, "similarity to the victim", title=f"{LABELS[role]} models")
    _cdf_axes(axes)
    axes[0].set_ylabel("share of fingerprints at or below", fontsize=TEXT)
    legend(figure)
    return figure


def _cdf(axis: Axes, values: Iterable[float], colour: str, line: str, marker: str, fill: str, label: str) -> None:
    found = finite(values)
    if not len(found):
        return
    edges = np.linspace(0, 1, 11)  # the paper's bins of .1
    share = [(found <= edge + 1e-12).mean() for edge in edges]
    axis.plot(edges, share, line, marker=marker, ms=3.5, mfc=fill, color=colour, lw=1.2, clip_on=False, label=label)


def _cdf_axes(axes: Iterable[Axes]) -> None:
    for axis in axes:
        axis.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        axis.set_yticks([0, 0.5, 1], ["0", ".5", "1"])
        axis.set_xlim(-0.02, 1.02)
        axis.set_ylim(-0.03, 1.03)


def over_draws(axis: Axes, table: pd.DataFrame, x: str, y: str, by: str | None, prefix: str = "") -> None:
    """Means with the intervals of `by_value`, a line for each value of `by`, labelled with it."""
    parts = list(table.groupby(by, sort=False)) if by else [("", table)]
    # Beside each other by a hundredth of the axis, so that intervals stay apart.
    step = 0.012 * float(np.ptp(finite(table[x]))) if len(finite(table[x])) else 0.0
    for i, (name, rows) in enumerate(parts):
        label = prefix + words(name) if by else None
        _line(axis, by_value(rows, x, y).sort_values(x), x, (i - (len(parts) - 1) / 2) * step, series(name, i), label)
    if table[y].isna().all():
        nothing(axis)


def _line(axis: Axes, rows: pd.DataFrame, x: str, shift: float, style: dict[str, Any], label: str | None) -> None:
    if rows.empty:
        return
    error = np.maximum([rows["mean"] - rows["low"], rows["high"] - rows["mean"]], 0)
    axis.errorbar(
        rows[x] + shift, rows["mean"], yerr=error, ms=4, lw=1.3, elinewidth=0.9, capsize=2, label=label, **style
    )


def _gap_and_auc(axes: list[Axes], table: pd.DataFrame, x: str) -> None:
    """Gap in the first axis, AUC in the second, a line per group of innocents where the table has a column `group`."""
    for axis, y in zip(axes, ("gap", "auc"), strict=True):
        over_draws(axis, table, x, y, "group" if "group" in table.columns else None, "against ")
    describe(axes[0], y="similarity gap")
    describe(axes[1], y="AUC")


def fig6_n_points(table: pd.DataFrame) -> Figure:
    """Figure 6 left: similarity gap and AUC against the number of points of a fingerprint.

    Args:
        table: one row per value, columns `n_points`, `gap` (mean similarity of piracy minus that of homologous models,
            in [-2, 2]), `auc`, and their intervals `gap_low`, `gap_high`, `auc_low`, `auc_high`; without these one row
            per draw, of which mean and range are drawn. Optional: `group` (of innocents: a line each).
    """
    table = need(table, "n_points", "gap", "auc")
    figure, axes = canvas(PAGE, 2.4, 1, 2, sharex=True)
    _gap_and_auc(axes, table, "n_points")
    for axis in axes:
        reference(axis, 70, "paper: plateau", vertical=True)
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
    table = need(table, "top_k", "gap", "auc")
    confidence = {k: v for k, v in (confidence or {}).items() if k != BARE_LABEL and np.isfinite(v)}
    n = 3 if confidence else 2
    figure, axes = canvas(PAGE, 2.3, 1, n)
    values = sorted({int(k) for k in table["top_k"].dropna()} | set(confidence))
    # The bare label stands a little apart: its name is wide.
    place = {k: i - 0.8 * (k == BARE_LABEL) for i, k in enumerate(values)}
    _gap_and_auc(axes[:2], table.assign(place=table["top_k"].map(place)), "place")
    if confidence:
        ks = sorted(confidence)
        axes[2].plot([place[k] for k in ks], [confidence[k] for k in ks], "-o", ms=4, lw=1.3, color="black")
        describe(axes[2], y="mean sum of the top k")
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


def fig6_recovery(table: pd.DataFrame, alpha: float = 0.05) -> Figure:
    """Figure 6 right: similarity against recovery rate, in bins of .02 over [.78, .94].

    Args:
        table: one row per model, columns `role`, `similarity`, `recovery` (of piracy models; ignored for others), and
            optionally `p_value`, which adds a panel.
        alpha: the level drawn beside the p-values.
    """
    table = need(table, "role", "recovery", "similarity")
    stolen = table[table["role"] == "piracy"].dropna(subset=["recovery", "similarity"])
    with_p = "p_value" in stolen.columns and bool(stolen["p_value"].notna().any())
    rows, height = (2, 3.9) if with_p else (1, 2.6)
    figure, axes = canvas(COLUMN, height, rows, 1, sharex=True, height_ratios=(2, 1)[:rows])
    _level(axes[0], finite(table.loc[table["role"] == "homologous", "similarity"]))
    recovery = stolen["recovery"].to_numpy(float)
    _binned(axes[0], recovery, stolen["similarity"].to_numpy(float))
    describe(axes[0], y="similarity to the victim")
    if stolen.empty:
        nothing(axes[0], "no piracy model measured")
    if with_p:
        _p_values(axes[1], recovery, stolen["p_value"].to_numpy(float))
        reference(axes[1], alpha)
        describe(axes[1], y=f"p-value\n(line: {alpha:g})")
    axes[0].set_xlim(min([0.77, *recovery - 0.01]), max([0.95, *recovery + 0.01]))
    axes[0].set_xticks([0.78, 0.82, 0.86, 0.9, 0.94])
    axes[-1].set_xlabel("recovery: accuracy / victim's accuracy", fontsize=TEXT)
    legend(figure, 2)
    return figure


def _level(axis: Axes, values: np.ndarray) -> None:
    """Homologous models as a band: mean and one standard deviation."""
    if len(values):
        mean, std = values.mean(), values.std()
        colour = COLOURS["homologous"]
        axis.axhspan(mean - std, mean + std, color=colour, alpha=0.18, lw=0, label="homologous, mean ± std")
        axis.axhline(mean, color=colour, lw=1.1, ls="--")


def _binned(axis: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Every model as a point, and mean and standard deviation of every bin that has any."""
    usable = np.isfinite(x) & np.isfinite(y)
    x, y = x[usable], y[usable]
    if not len(x):
        return
    colour = COLOURS["piracy"]
    axis.scatter(x, y, s=6, color=colour, alpha=0.45, lw=0, label="piracy, each model")
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
            label="piracy, mean ± std of a bin",
        )


def recovery_bin(recovery: np.ndarray) -> np.ndarray:
    """Index of each rate's bin in `RECOVERY_EDGES`; -1 below the first edge, the number of bins above the last."""
    which = np.digitize(np.round(recovery, 9), RECOVERY_EDGES) - 1
    # The last edge belongs to the last bin.
    return np.where(np.isclose(recovery, RECOVERY_EDGES[-1]), len(RECOVERY_EDGES) - 2, which)


def _p_values(axis: Axes, x: np.ndarray, p: np.ndarray) -> None:
    """Every model and the medians of the bins, on a logarithmic axis with readable ticks."""
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
    ticks = [t for t in (1e-4, 1e-3, 0.01, 0.05, 0.2, 1.0) if t >= p.min() / 2]
    axis.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set_ylim(p.min() / 2, 1.5)
