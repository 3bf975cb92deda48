"""ROC curves and scores by group."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from uapfp_dist.reporting.figures.columns import finite
from uapfp_dist.reporting.figures.marks import named_rows, reference, strip
from uapfp_dist.reporting.figures.methods import OURS
from uapfp_dist.reporting.figures.style import (
    CYCLE,
    GREY,
    LABELS,
    LINES,
    PAGE,
    describe_axes,
    display_name,
    legend,
    no_data,
    subplots,
)


def roc_curves(
    curves: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]], areas: Mapping[str, float | None]
) -> Figure:
    """Mean ROC over resamples, piracy against homologous, one line per method.

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
    describe_axes(axis, "homologous models accused", "piracy models caught")
    legend(figure, where="outside right center", title="method (mean AUC)")
    return figure


def roc(positive: np.ndarray, negative: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """True positive rate at each false positive rate of `grid`; ties are joined by a slope, which counts them half."""
    thresholds = np.unique(np.concatenate([positive, negative]))[::-1]
    false = [0.0, *((negative >= t).mean() for t in thresholds)]
    true = [0.0, *((positive >= t).mean() for t in thresholds)]
    return np.interp(grid, false, true)


def group_strips(groups: Mapping[str, Mapping[str, Sequence[float]]], thresholds: Mapping[str, float | None]) -> Figure:
    """Score of every model by group, one panel per method.

    Args:
        groups: method to role to scores.
        thresholds: method to the score above which a claim is made, or None.
    """
    order = [role for role in LABELS if any(role in roles for roles in groups.values())]
    n = max(1, len(groups))
    figure, axes = subplots(min(PAGE, 2.6 * n + 1.7), 0.36 * max(2, len(order)) + 1.0, 1, n, sharey=True)
    for axis, (method, roles) in zip(axes, groups.items(), strict=False):
        for y, role in enumerate(order):
            strip(axis, roles.get(role, ()), y, role)
        threshold = thresholds.get(method)
        if threshold is not None and np.isfinite(threshold):
            reference(axis, threshold, "claim above", vertical=True)
        describe_axes(axis, f"score by {display_name(method)}")
    named_rows(axes[0], order)
    if not order:
        no_data(axes[0])
    return figure
