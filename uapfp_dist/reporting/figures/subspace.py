"""Figure 2: UAP subspaces and Inconsist (paper Eq. 5)."""

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.figure import Figure

from uapfp_dist.reporting.figures.columns import finite
from uapfp_dist.reporting.figures.marks import marker_fill, named_rows, strip
from uapfp_dist.reporting.figures.style import (
    COLOURS,
    COLUMN,
    CYCLE,
    LINES,
    MARKERS,
    TITLE,
    describe_axes,
    display_name,
    legend,
    no_data,
    subplots,
)


def fig2a_projections(energies: Mapping[str, np.ndarray]) -> Figure:
    """Figure 2a: mean squared projections of unit UAPs on the victim's first principal directions.

    Args:
        energies: role (victim, piracy, homologous) to (models, K) values in [0, 1] on K >= 1 directions, of which the
            first 5 are drawn: mean and standard deviation over models.
    """
    figure, (axis,) = subplots(COLUMN, 2.6)
    usable = {r: np.atleast_2d(np.asarray(e, dtype=float))[:, :5] for r, e in energies.items()}
    usable = {role: rows[np.isfinite(rows).all(1)] for role, rows in usable.items()}
    usable = {role: rows for role, rows in usable.items() if rows.size}
    for i, (role, rows) in enumerate(usable.items()):
        # Side by side, so that error bars do not overlap.
        x = np.arange(1, rows.shape[1] + 1) + (i - (len(usable) - 1) / 2) * 0.14
        axis.errorbar(
            x,
            rows.mean(0),
            yerr=rows.std(0) if len(rows) > 1 else None,
            fmt=LINES[i % len(LINES)],
            marker=MARKERS.get(role, "o"),
            ms=7 if role == "victim" else 4,
            mfc=marker_fill(role),
            color=COLOURS.get(role, CYCLE[-1]),
            lw=1.1,
            elinewidth=1.1,
            capsize=2,
            label=f"{display_name(role)} ({len(rows)})",
        )
    if not usable:
        no_data(axis)
    axis.set_xticks(range(1, 6))
    axis.set_xlim(0.5, 5.5)
    axis.set_ylim(bottom=0)
    describe_axes(axis, "principal direction of the victim's UAPs", "mean squared projection")
    legend(figure)
    return figure


def fig2b_inconsist(inconsist: Mapping[str, Iterable[float]]) -> Figure:
    """Figure 2b: Inconsist (Eq. 5) of every model; the title gives the ratio of means.

    Args:
        inconsist: role to one value per model, >= 0.
    """
    found = {role: values for role, v in inconsist.items() if len(values := finite(v))}
    figure, (axis,) = subplots(COLUMN, 0.42 * max(2, len(found)) + 0.9)
    for y, (role, values) in enumerate(found.items()):
        strip(axis, values, y, role)
    named_rows(axis, list(found))
    if {"piracy", "homologous"} <= set(found) and found["piracy"].mean() > 0:
        ratio = found["homologous"].mean() / found["piracy"].mean()
        figure.suptitle(f"independent / stolen: {ratio:.2g} (paper: about 3)", fontsize=TITLE)
    if not found:
        no_data(axis)
    axis.set_xlim(left=0)
    describe_axes(axis, "Inconsist (Eq. 5), bar: mean")
    return figure
