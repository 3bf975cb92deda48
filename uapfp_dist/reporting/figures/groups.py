"""Scores by group."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from uapfp_dist.reporting.figures.marks import named_rows, reference_line, strip
from uapfp_dist.reporting.figures.style import LABELS, PAGE, describe_axes, display_name, no_data, subplots


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
            reference_line(axis, threshold, "claim above", vertical=True)
        describe_axes(axis, f"score by {display_name(method)}")
    named_rows(axes[0], order)
    if not order:
        no_data(axes[0])
    return figure


def accused_strips(groups: Mapping[str, Sequence[float]], names: Mapping[str, str], threshold: float | None) -> Figure:
    """Score of every model by group, narrow enough for a telephone.

    Args:
        groups: role to scores.
        names: role to the name of its row; in this order, roles without models or without a name are left out.
        threshold: the score above which a model is accused, or None.
    """
    order = [role for role in names if len(groups.get(role, ()))]
    figure, (axis,) = subplots(3.6, 0.33 * max(2, len(order)) + 0.7)
    for y, role in enumerate(order):
        strip(axis, groups[role], y, role)
    if threshold is not None and np.isfinite(threshold):
        reference_line(axis, threshold, "accused above", vertical=True)
    describe_axes(axis, "score")
    named_rows(axis, [names[role] for role in order])
    if not order:
        no_data(axis)
    return figure
