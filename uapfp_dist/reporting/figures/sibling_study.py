"""What siblings are worth against the share of training that they repeat."""

from collections.abc import Callable, Sequence

from matplotlib.figure import Figure

from uapfp_dist.evaluation.sibling_study import SiblingPower, StartKind
from uapfp_dist.reporting.figures.style import CYCLE, GREY, PAGE, SHAPES, describe_axes, legend, no_data, subplots

KINDS: dict[StartKind, str] = {
    "checkpoint": "from a checkpoint of the victim's run",
    "backbone": "from a backbone",
    "scratch": "from random weights",
}
PANELS: dict[str, Callable[[SiblingPower], float | None]] = {
    "AUC, stolen / from a sibling": lambda one: one.auc,
    "share of stolen models caught": lambda one: None if one.caught is None else one.caught / one.n_stolen,
    "churn points in 1,000 images": lambda one: 1000 * one.n_departures / one.pool_size if one.pool_size else None,
}


def sibling_figure(found: Sequence[SiblingPower]) -> Figure:
    """A panel per measure; a mark per victim, a line through the means of each kind of start."""
    figure, axes = subplots(PAGE, 2.7, columns=len(PANELS), sharex=True)
    for axis, (title, value_of) in zip(axes, PANELS.items(), strict=True):
        for number, (kind, name) in enumerate(KINDS.items()):
            measured = [
                (one.repeated, value)
                for one in found
                if one.start == kind and (value := value_of(one)) is not None and value == value
            ]
            if not measured:
                continue
            colour, shape = CYCLE[number], SHAPES[number]
            at, values = zip(*measured, strict=True)
            axis.scatter(at, values, s=14, marker=shape, color=colour, alpha=0.5, lw=0)
            shares = sorted({share for share, _ in measured})
            means = [_mean([value for at, value in measured if at == share]) for share in shares]
            axis.plot(shares, means, color=colour, marker=shape, ms=4, lw=1.1, label=name)
        describe_axes(axis, "share of training repeated", title)
        axis.set_xlim(0, 1.05)
    axes[0].axhline(0.5, color=GREY, lw=0.8, ls="--")
    axes[0].set_ylim(min([0.4, *(one.auc - 0.05 for one in found if one.auc == one.auc)]), 1.02)
    axes[1].set_ylim(-0.02, 1.02)
    axes[2].set_ylim(bottom=0)
    if not found:
        no_data(axes[0])
    legend(figure)
    return figure


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
