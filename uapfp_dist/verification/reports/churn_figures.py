"""Figures of a verdict by churn: some of its images, and how the evidence adds up."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from uapfp_dist.messages import printable
from uapfp_dist.reporting.figures.images import show_image
from uapfp_dist.reporting.figures.style import (
    COLOURS,
    CYCLE,
    LABELS,
    PAGE,
    SMALL,
    describe_axes,
    legend,
    plain,
    subplots,
)
from uapfp_dist.verification.kit.info import MethodName
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.replay import JudgedSuspect
from uapfp_dist.verification.reports.churn_evidence import ChurnAnswers, count_labels
from uapfp_dist.verification.reports.group_words import ROLES

N_SHOWN, COLUMNS = 8, 4
"""Churn points shown, in rows of so many."""
LONGEST_CLASS = 12
"""Characters of a class's name under an image."""
SO_FAR: dict[MethodName, str] = {
    "churn": "share with the victim's label so far",
    "weighted_churn": "evidence so far (log odds)",
}
"""The running score in words."""
LONGEST_LINE = 24
"""Characters of what siblings say, but that the first label is always there."""


def churn_images_figure(kit: Kit, case: JudgedSuspect) -> Figure | None:
    """The answered churn points of the largest weight, with what each side says; None where there is none."""
    if (answers := ChurnAnswers.of(kit, case)) is None:
        return None
    n = min(N_SHOWN, len(answers.at))
    rows = -(-n // COLUMNS)
    figure, axes = subplots(PAGE, 1.75 * rows, rows, COLUMNS)
    for axis in axes[n:]:
        axis.remove()
    names = [plain(printable(name))[:LONGEST_CLASS] for name in kit.class_names]
    for i, axis in enumerate(axes[:n]):
        show_image(axis, (kit.images[answers.images[i]] / 255).numpy())
        _captions(axis, names, int(answers.victim[i]), count_labels(answers.committee[i]), int(answers.suspect[i]))
    return figure


def _captions(axis: Axes, names: Sequence[str], victim: int, siblings: Sequence[tuple[int, int]], suspect: int) -> None:
    """Three lines under an image."""
    same = suspect == victim
    lines = [
        (f"victim: {names[victim]}", "black", "normal"),
        (f"siblings: {_siblings_say(names, siblings)}", "black", "normal"),
        (f"suspect: {names[suspect]}", COLOURS["piracy"] if same else "#444444", "bold" if same else "normal"),
    ]
    for i, (text, colour, weight) in enumerate(lines):
        axis.annotate(
            text,
            (0.5, 0),
            xycoords="axes fraction",
            xytext=(0, -3 - 10 * i),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=SMALL,
            color=colour,
            fontweight=weight,
        )


def _siblings_say(names: Sequence[str], siblings: Sequence[tuple[int, int]]) -> str:
    """Labels and how many give each, as many as there is room for."""
    said = ""
    for label, count in siblings:
        more = f"{said}, {names[label]} ({count})" if said else f"{names[label]} ({count})"
        if said and len(more) > LONGEST_LINE:
            return f"{said} ..."
        said = more
    return said


def evidence_figure(kit: Kit, case: JudgedSuspect) -> Figure | None:
    """The running score over the points, the one of the largest weight first, of the suspect and of the kit's models.

    A band holds the middle nine tenths of a group's models, its line is their median.
    """
    if (answers := ChurnAnswers.of(kit, case)) is None:
        return None
    method = case.verdict.conformal_method
    from_below = method == "churn"  # so that it is a share of images
    scores = answers.running_scores(answers.models_agree, from_below=from_below)
    figure, (axis,) = subplots(PAGE, 3.2)
    for group in ROLES:
        part = "test" if group == "piracy" else "calibration"
        rows = [i for i, row in enumerate(kit.info.models) if (row.group, row.part) == (group, part)]
        if rows:
            _band(axis, scores[rows], group)
    own = answers.running_scores(answers.agrees[None], from_below=from_below)[0].numpy()
    name = plain(printable(case.verdict.name))[:40]
    axis.plot(np.arange(1, len(own) + 1), own, color="black", lw=1.8, label=f"the suspect, {name}", zorder=5)
    axis.set_xlim(1, max(len(own), 2))
    describe_axes(axis, "images answered, the one that counts most first", SO_FAR[method])
    legend(figure, 3)
    return figure


def _band(axis: Axes, scores: Tensor, group: str) -> None:
    """The (K, P) running scores of one group."""
    low, middle, high = np.quantile(scores.numpy(), (0.05, 0.5, 0.95), axis=0)
    x = np.arange(1, scores.shape[1] + 1)
    colour = COLOURS.get(ROLES[group], CYCLE[-1])
    stolen = group == "piracy"
    axis.fill_between(x, low, high, color=colour, alpha=0.25 if stolen else 0.13, lw=0)
    axis.plot(x, middle, color=colour, lw=1.2, ls="-" if stolen else "--", label=LABELS[ROLES[group]])
