"""What removal costs an attacker: accuracy lost against the share still caught."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from uapfp_dist.evaluation.modified_models import UNCHANGED
from uapfp_dist.reporting.figures.columns import require_columns
from uapfp_dist.reporting.figures.marks import reference_line
from uapfp_dist.reporting.figures.style import (
    CYCLE,
    PAGE,
    SHAPES,
    TEXT,
    describe_axes,
    legend,
    no_data,
    subplots,
)

FAMILIES = {
    UNCHANGED: "unchanged",
    "adversarial training": "adversarial training",
    "labels true": "true labels mixed in",
    "second hand": "stolen from a stolen model",
    "queries": "queries changed",
    "answers r": "answers rounded or random",
    "prune .4, fine-tune": "pruned and fine-tuned",
    ", ": "two attacks in a row",
    "label ": "labels noisy or smooth",
    "PGD training": "PGD training",
    "guessed churn": "guessed churn",
    "fine-tune": "fine-tuned",
    "prune": "pruned",
    "INT8": "INT8",
    "fresh images": "distilled on fresh images",
    "distillation": "distilled",
}
"""A part of a change to its family; the first that fits counts. A comma stands between two attacks, and in the name of
a change of queries."""
OTHER_FAMILY = "another kind of net"

IN_A_ROW = 4
"""Panels side by side."""


def removal(table: pd.DataFrame, caught: str, reference: float | None = None) -> Figure:
    """Share caught against accuracy lost: a panel per test, a mark per change, filled for stolen models.

    Args:
        table: one row per panel, change and group of models, columns `panel`, `change` (what was done to the models),
            `stolen` (bool), `lost` (points of accuracy) and `caught` (a share).
        caught: label of that share.
        reference: a share that is expected of independent models.
    """
    table = require_columns(table, "panel", "change", "stolen", "lost", "caught").dropna(subset=["lost", "caught"])
    panels = list(dict.fromkeys(table["panel"]))
    columns = min(max(len(panels), 1), IN_A_ROW)
    rows = -(-max(len(panels), 1) // columns)
    figure, axes = subplots(PAGE, 2.3 * rows + 1.6, rows, columns, sharex=True, sharey=True)
    for axis, panel in zip(axes, panels, strict=False):
        _draw(axis, table[table["panel"] == panel])
        describe_axes(axis, title=panel)
        if reference is not None:
            reference_line(axis, reference)
        axis.set_ylim(-0.05, 1.05)
    for axis in axes[len(panels) :]:
        axis.set_visible(axis is axes[0])
    if not panels:
        no_data(axes[0])
    for axis in axes[max(len(panels) - columns, 0) :]:  # those with no panel below
        axis.set_xlabel("points of accuracy lost", fontsize=TEXT)
        axis.tick_params(labelbottom=True)
    for axis in axes[::columns]:
        axis.set_ylabel(caught, fontsize=TEXT)
    legend(figure, 4, where="outside lower center", title="filled: stolen, hollow: negatives")
    return figure


def family_of(change: str) -> str:
    """The family of what was done to a model."""
    return next((family for part, family in FAMILIES.items() if part in change), OTHER_FAMILY)


def _draw(axis: Axes, rows: pd.DataFrame) -> None:
    """The marks of a panel; a family has one colour and shape on both sides."""
    families = rows["change"].map(family_of)
    for number, family in enumerate(dict.fromkeys([*FAMILIES.values(), OTHER_FAMILY])):
        colour = CYCLE[number % len(CYCLE)]
        named = False
        for stolen in (True, False):
            mine = rows[(families == family) & (rows["stolen"] == stolen)]
            if mine.empty:
                continue
            axis.scatter(
                mine["lost"],
                mine["caught"],
                s=22,
                marker=SHAPES[number % len(SHAPES)],
                facecolors=colour if stolen else "white",
                edgecolors=colour,
                linewidths=0.9,
                label=None if named else family,
            )
            named = True
