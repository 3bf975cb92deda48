"""What removal costs a thief: accuracy lost against the share still caught."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from uapfp_dist.reporting.figures.style import (
    CYCLE,
    GREY,
    PAGE,
    SHAPES,
    describe_axes,
    legend,
    no_data,
    subplots,
)
from uapfp_dist.verification.robustness.judged import JudgedModel

FAMILIES = {
    "as it is": "unchanged",
    "adversarial training": "adversarial training",
    "labels true": "true labels mixed in",
    "second hand": "stolen from a stolen model",
    ", fine-tune": "pruned and fine-tuned",
    "fine-tune": "fine-tuned",
    "prune": "pruned",
    "INT8": "INT8",
    "distillation": "distilled",
    "questions": "questions changed",
    "answers random": "answers random",
}
"""A part of what was done to its family; the first that fits counts."""


def removal_figure(judged: Sequence[JudgedModel], alpha: float) -> Figure:
    """A mark per kind of change: accuracy lost on average, and the share accused by all images of the kit.

    Args:
        judged: suspects of one kit; stolen ones are filled, negatives hollow.
        alpha: tolerated rate of false accusation.
    """
    figure, (axis,) = subplots(PAGE, 3.4)
    for stolen in (True, False):
        side = [one for one in judged if one.stolen == stolen and one.role != "modified_victim"]
        start = _mean_accuracy([one for one in side if family_of(one.kind) == "unchanged"])
        for number, (family, kinds) in enumerate(_by_family(side).items()):
            lost = [100 * (start - _mean_accuracy(group)) for group in kinds]
            caught = [sum(_last_p(one) <= alpha + 1e-12 for one in group) / len(group) for group in kinds]
            colour = CYCLE[number % len(CYCLE)]
            axis.scatter(
                lost,
                caught,
                s=26,
                marker=SHAPES[number % len(SHAPES)],
                facecolors=colour if stolen else "white",
                edgecolors=colour,
                linewidths=0.9,
                label=family if stolen else None,
            )
    if not judged:
        no_data(axis)
    axis.axhline(alpha, color=GREY, lw=0.8, ls="--")
    axis.set_ylim(-0.05, 1.05)
    describe_axes(axis, "points of accuracy lost", f"share accused at alpha {alpha:g}")
    legend(figure, where="outside right center", title="filled: stolen, hollow: negatives")
    return figure


def family_of(kind: str) -> str:
    """The family of what was done to a model."""
    return next((family for part, family in FAMILIES.items() if part in kind), "another kind of net")


def _by_family(judged: Sequence[JudgedModel]) -> dict[str, list[list[JudgedModel]]]:
    """Family, in one order for both sides, to the suspects of each kind."""
    families = [*dict.fromkeys(FAMILIES.values()), "another kind of net"]
    found: dict[str, dict[str, list[JudgedModel]]] = {family: {} for family in families}
    for one in judged:
        found[family_of(one.kind)].setdefault(one.kind, []).append(one)
    return {family: list(kinds.values()) for family, kinds in found.items()}


def _mean_accuracy(judged: Sequence[JudgedModel]) -> float:
    return sum(one.accuracy for one in judged) / max(len(judged), 1)


def _last_p(judged: JudgedModel) -> float:
    return list(judged.p_values.values())[-1]
