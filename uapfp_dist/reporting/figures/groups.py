"""Scores by group."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from matplotlib.figure import Figure

from uapfp_dist.reporting.figures.marks import annotate_right, named_rows, reference, strip
from uapfp_dist.reporting.figures.style import LABELS, PAGE, describe_axes, display_name, no_data, subplots


def group_strips(
    groups: Mapping[str, Mapping[str, Sequence[float]]],
    thresholds: Mapping[str, float | None],
    notes: Mapping[str, str] = MappingProxyType({}),
) -> Figure:
    """Score of every model by group, one panel per method.

    Args:
        groups: method to role to scores.
        thresholds: method to the score above which a claim is made, or None.
        notes: role to a few words at the right of its row.
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
    for y, role in enumerate(order):
        annotate_right(axes[-1], notes.get(role, ""), y)
    if not order:
        no_data(axes[0])
    return figure
