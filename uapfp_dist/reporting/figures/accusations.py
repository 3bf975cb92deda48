"""False positives by group and test."""

import math

import pandas as pd
from matplotlib.figure import Figure

from uapfp_dist.reporting.figures.columns import require_columns
from uapfp_dist.reporting.figures.marks import annotate_right, named_rows, reference_line
from uapfp_dist.reporting.figures.style import (
    COLUMN,
    CYCLE,
    LINES,
    describe_axes,
    display_name,
    legend,
    no_data,
    subplots,
)
from uapfp_dist.statistics.intervals import clopper_pearson


def false_accusations(table: pd.DataFrame, alpha: float) -> Figure:
    """Negative models accused, by group: the conformal decision beside the paper's t-test.

    Args:
        table: one row per group and test, columns `group` (of negatives), `test` (conformal, t_test), `accused`
            (number of models; as a mean over resamples maybe a fraction), `n` (models, not models times resamples).
            Intervals: Clopper-Pearson, 95 %, for `independent` (of models stolen from others their victims; NaN: too
            few for an interval) in place of n, where there is such a column.
        alpha: the promised false positive rate.
    """
    table = require_columns(table, "group", "test", "accused", "n").dropna(subset=["accused", "n"])
    table = table[table["n"] > 0]
    groups, tests = (list(dict.fromkeys(table[c])) for c in ("group", "test"))
    figure, (axis,) = subplots(COLUMN * 1.35, 0.44 * max(2, len(groups)) + 1.1)
    for _, row in table.iterrows():
        j = tests.index(row["test"])
        y = groups.index(row["group"]) + (j - (len(tests) - 1) / 2) * 0.36
        independent = float(row.get("independent", row["n"]))
        if not math.isnan(independent):
            low, high = clopper_pearson(float(row["accused"] / row["n"]) * independent, independent)
            axis.plot([low, high], [y, y], color=CYCLE[j], lw=1.5, ls=LINES[j % 2], solid_capstyle="butt")
        axis.plot(
            row["accused"] / row["n"],
            y,
            "os^D"[j % 4],
            color=CYCLE[j],
            mfc=CYCLE[j] if j == 0 else "white",
            ms=5,
            clip_on=False,
            label={"conformal": "conformal", "t_test": "paper's t-test"}.get(row["test"], display_name(row["test"])),
        )
        annotate_right(axis, f"{row['accused']:.3g} of {int(row['n'])}", y)
    named_rows(axis, groups)
    if table.empty:
        no_data(axis)
    reference_line(axis, alpha, f"alpha = {alpha:g}", vertical=True)
    axis.set_xlim(-0.02, 1.02)
    describe_axes(axis, "negative models accused (95 % interval)")
    legend(figure)
    return figure
