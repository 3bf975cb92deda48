"""Figures 5 and 7: distributions of similarity."""

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from uapfp_dist.reporting.figures.columns import finite
from uapfp_dist.reporting.figures.marks import marker_fill
from uapfp_dist.reporting.figures.style import (
    COLOURS,
    COLUMN,
    CYCLE,
    LABELS,
    LINES,
    MARKERS,
    PAGE,
    SHAPES,
    TEXT,
    describe_axes,
    display_name,
    legend,
    no_data,
    plain,
    subplots,
)


def similarity_cdf(similarities: Mapping[str, Mapping[str, np.ndarray]], title: str) -> Figure:
    """Figure 5: distribution of fingerprint similarity by architecture.

    Args:
        similarities: architecture to role to all similarities of its fingerprints.
    """
    n = max(1, len(similarities))
    columns = min(n, 4)
    rows = -(-n // columns)
    figure, axes = subplots(max(COLUMN, PAGE * columns / 4), 2.1 * rows + 0.5, rows, columns, sharex=True, sharey=True)
    for axis, (architecture, roles) in zip(axes, sorted(similarities.items()), strict=False):
        for role, values in roles.items():
            _cdf(
                axis,
                values,
                COLOURS[role],
                "-" if role == "piracy" else "--",
                MARKERS[role],
                marker_fill(role),
                display_name(role),
            )
        axis.set_title(plain(architecture), fontsize=TEXT)
    for i in range(n, len(axes)):
        axes[i].set_visible(False)
        axes[i - columns].tick_params(labelbottom=True)
    if not similarities:
        no_data(axes[0])
    _cdf_axes(axes)
    figure.supxlabel("similarity", fontsize=TEXT)
    figure.supylabel("share of fingerprints at or below", fontsize=TEXT)
    legend(figure, title=plain(title))
    return figure


def fig7_uap_vs_lap(similarities: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Figure 7: distribution of similarity with universal and with local perturbations, stolen beside independent.

    Args:
        similarities: name of the perturbation, with its norm ("UAP at xi", "LAP, minimal", ...), to role (piracy,
            homologous) to the similarities of all fingerprints.
    """
    figure, axes = subplots(PAGE, 2.6, 1, 2, sharex=True, sharey=True)
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
                display_name(name),
            )
        if not axis.lines:
            no_data(axis)
        describe_axes(axis, "similarity to the victim", title=f"{LABELS[role]} models")
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
