"""What removal costs an attacker who faces a kit."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal

import pandas as pd
from matplotlib.figure import Figure

from uapfp_dist.reporting import figures
from uapfp_dist.reporting.figures.removal import family_of
from uapfp_dist.verification.robustness.judged import JudgedModel

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
    rows = [row for title, p_of in _panels(judged) for row in _panel(title, judged, p_of, alpha)]
    return figures.removal(pd.DataFrame(rows), f"share accused at alpha {alpha:g}", alpha)


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


def _panel(
    title: str, judged: Sequence[JudgedModel], p_of: Callable[[JudgedModel], float], alpha: float
) -> Iterator[dict[str, str | float]]:
    for stolen in (True, False):
        side = [one for one in judged if one.stolen == stolen and one.role != "modified_victim"]
        # What was made so from the start is compared with all that were not; everything else with what it was made of.
        start = _mean([one.accuracy for one in side if family_of(one.kind) == "unchanged"])
        for kind in dict.fromkeys(one.kind for one in side):
            group = [one for one in side if one.kind == kind]
            lost = _mean([(start if one.made_of is None else one.made_of) - one.accuracy for one in group])
            caught = _mean([p_of(one) <= alpha + 1e-12 for one in group])
            yield {"panel": title, "change": kind, "stolen": stolen, "lost": 100 * lost, "caught": caught}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)
