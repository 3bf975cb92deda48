"""What removal costs an attacker: accuracy lost against the share still caught."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from uapfp_dist.reporting.figures.style import (
    CYCLE,
    GREY,
    PAGE,
    SHAPES,
    TEXT,
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
    "questions": "questions changed",
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
"""A part of what was done to its family; the first that fits counts. A comma stands between two attacks, and in the
name of a change of questions."""

BUDGETS = ("100", "400")
"""Images by which suspects are shown, where the kit has them; else by all."""


def removal_figure(judged: Sequence[JudgedModel], alpha: float) -> Figure:
    """Accuracy lost on average against the share accused: a mark per kind of change, a panel per number of images.

    A model loses against the one that it was made of, or, where it was made so from the start, against the mean of
    those to which nothing was done.

    The last panel is the exact sibling test's, where the kit has it.

    Args:
        judged: suspects of one kit; stolen ones are filled, negatives hollow.
        alpha: tolerated rate of false accusation of each.
    """
    panels = _panels(judged)
    figure, axes = subplots(PAGE, 3.9, columns=max(len(panels), 1), sharey=True)
    for axis, (title, p_of) in zip(axes, panels, strict=False):
        for stolen in (True, False):
            _draw_side(axis, [one for one in judged if one.stolen == stolen], p_of, alpha, stolen)
        describe_axes(axis, "points of accuracy lost", "", title)
    if not judged:
        no_data(axes[0])
    for axis in axes:
        axis.axhline(alpha, color=GREY, lw=0.8, ls="--")
        axis.set_ylim(-0.05, 1.05)
    axes[0].set_ylabel(f"share accused at alpha {alpha:g}", fontsize=TEXT)
    legend(figure, 4, where="outside lower center", title="filled: stolen, hollow: negatives")
    return figure


def _panels(judged: Sequence[JudgedModel]) -> Sequence[tuple[str, Callable[[JudgedModel], float]]]:
    """(title, how a p-value is read) of each."""
    if not judged:
        return []
    known = list(judged[0].p_values)
    budgets = [n for n in BUDGETS if n in known] or known[-1:]
    return [(f"{n} images", partial(_p_of, "p_values", n)) for n in budgets] + [
        (f"exact test, {n} images", partial(_p_of, "exact", n)) for n in judged[0].exact
    ]


def _p_of(test: Literal["p_values", "exact"], n_images: str, judged: JudgedModel) -> float:
    return {"p_values": judged.p_values, "exact": judged.exact}[test][n_images]


def _draw_side(
    axis: Axes, judged: Sequence[JudgedModel], p_of: Callable[[JudgedModel], float], alpha: float, stolen: bool
) -> None:
    side = [one for one in judged if one.role != "modified_victim"]
    # What was made so from the start is compared with all that were not; everything else with what it was made of.
    start = _mean([one.accuracy for one in side if family_of(one.kind) == "unchanged"])
    for number, (family, kinds) in enumerate(_by_family(side).items()):
        lost = [100 * _mean([(start if one.before is None else one.before) - one.accuracy for one in g]) for g in kinds]
        caught = [sum(p_of(one) <= alpha + 1e-12 for one in group) / len(group) for group in kinds]
        colour = CYCLE[number % len(CYCLE)]
        axis.scatter(
            lost,
            caught,
            s=22,
            marker=SHAPES[number % len(SHAPES)],
            facecolors=colour if stolen else "white",
            edgecolors=colour,
            linewidths=0.9,
            label=family if stolen and kinds else None,
        )


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


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)
