"""ROC curves."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from uapfp_dist.reporting.figures.columns import finite
from uapfp_dist.reporting.figures.methods import OURS
from uapfp_dist.reporting.figures.style import (
    CYCLE,
    GREY,
    LINES,
    PAGE,
    describe_axes,
    display_name,
    legend,
    subplots,
)


def roc_curves(
    curves: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]], areas: Mapping[str, float | None]
) -> Figure:
    """Mean ROC over resamples, stolen against independent, one line per method.

    Args:
        curves: method to (positive scores, negative scores) of every resample; those without either are left out.
        areas: method to mean AUC.
    """
    figure, (axis,) = subplots(PAGE * 0.85, 3.6)
    axis.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=(0, (4, 2)))
    area = {m: np.nan if areas.get(m) is None else float(areas[m]) for m in curves}  # type: ignore[arg-type]
    drawn = sorted(curves, key=lambda m: -np.nan_to_num(area[m], nan=-1.0))
    grid = np.linspace(0, 1, 201)
    for i, method in enumerate(drawn):
        usable = [(finite(p), finite(n)) for p, n in curves[method] if len(finite(p)) and len(finite(n))]
        if usable:
            axis.plot(
                grid,
                np.mean([roc(p, n, grid) for p, n in usable], axis=0),
                LINES[(i // len(CYCLE) * 2 + i % 2) % len(LINES)],
                color=CYCLE[i % len(CYCLE)],
                lw=2.2 if method.startswith(OURS) else 1.1,
                label=f"{display_name(method)} ({area[method]:.2f})",
            )
    axis.set_aspect("equal")
    axis.set_xlim(-0.01, 1.01)
    axis.set_ylim(-0.01, 1.01)
    describe_axes(axis, "independent models accused", "stolen models caught")
    legend(figure, where="outside right center", title="method (mean AUC)")
    return figure


def roc(positive: np.ndarray, negative: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """True positive rate at each false positive rate of `grid`; ties are joined by a slope, which counts them half."""
    thresholds = np.unique(np.concatenate([positive, negative]))[::-1]
    false = [0.0, *((negative >= t).mean() for t in thresholds)]
    true = [0.0, *((positive >= t).mean() for t in thresholds)]
    return np.interp(grid, false, true)
