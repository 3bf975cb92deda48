"""What must be true of every figure: nothing cut, nothing overlaps, nothing too small to read."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from drawing import drawn, texts
from every_figure import FULL, POOR, resampled, shown, some, table_2
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from uapfp_dist.errors import UserError
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.figures.marks import marker_fill
from uapfp_dist.reporting.figures.style import PAGE


@pytest.mark.parametrize("name", FULL)
def test_nothing_is_cut_and_nothing_overlaps(name: str) -> None:
    figure = shown(name)
    page = figure.bbox
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts(figure)]
    for text, box in boxes:
        assert page.x0 - 1 <= box.x0, f"{text!r} is cut at the left"
        assert box.x1 <= page.x1 + 1, f"{text!r} is cut at the right"
        assert page.y0 - 1 <= box.y0, f"{text!r} is cut below"
        assert box.y1 <= page.y1 + 1, f"{text!r} is cut above"
    for (a, one), (b, other) in combinations(boxes, 2):
        wide, high = min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0)
        assert min(wide, high) <= 1.5, f"{a!r} and {b!r} overlap"


@pytest.mark.parametrize("name", FULL)
def test_legends_keep_off_the_data(name: str) -> None:
    figure = shown(name)
    for legend in figure.legends:
        for axis in figure.axes:
            assert not legend.get_window_extent().overlaps(axis.bbox) or not axis.get_visible()
    assert all(axis.get_legend() is None for axis in figure.axes)


@pytest.mark.parametrize("name", {**FULL, **POOR})
def test_letters_are_legible_in_print(name: str) -> None:
    """At the size at which it is drawn, which is at most that of a page's text."""
    figure = shown(name)
    assert figure.get_figwidth() <= PAGE
    assert min((t.get_fontsize() for t in texts(figure)), default=7) >= 7


@pytest.mark.parametrize("name", [n for n in FULL if n not in ("tsne", "pictures", "pictures, colour")])
def test_axes_are_labelled(name: str) -> None:
    figure = shown(name)
    labels = [axis.get_xlabel() for axis in figure.axes] + [figure.get_supxlabel()]
    assert any(labels)
    below = [axis for axis in figure.axes if axis.get_subplotspec().is_last_row() and axis.get_visible()]  # type: ignore[union-attr]
    assert figure.get_supxlabel() or all(axis.get_xlabel() for axis in below)


def test_the_checks_can_fail() -> None:
    figure = Figure(figsize=(1, 1))
    axis = figure.subplots()
    axis.set_title("much too long a title for a figure of this size", fontsize=5)
    FigureCanvasAgg(figure).draw()
    (title,) = [t for t in texts(figure) if "long" in t.get_text()]
    assert title.get_window_extent().x1 > figure.bbox.x1
    assert title.get_fontsize() < 7


def test_names_are_not_read_as_formulas() -> None:
    """A dollar sign or a leading underscore in a name must neither raise nor vanish."""
    name = r"_$\frac{$_<b>"
    table = resampled("loss", (name, "b"), (name, "other"))
    figure = drawn(lambda: figures.ablation_bars(table, "loss", by="group"))
    assert sum("frac" in t.get_text() for t in texts(figure)) == 2
    drawn(lambda: figures.similarity_cdf({name: {"piracy": some(0.5, 9)}}, name))
    drawn(lambda: figures.perturbed_images(np.ones((1, 4, 4)), np.ones((1, 1, 4, 4)), np.ones((1, 1, 4, 4)), [name]))
    drawn(lambda: figures.roc_curves({name: [(some(0.6, 5), some(0.4, 5))]}, {name: 0.5}))
    drawn(lambda: figures.table_vs_paper(table_2().assign(architecture=name), table_2()))


@pytest.mark.parametrize(
    "make",
    [
        lambda t: figures.fig6_n_points(t),
        lambda t: figures.fig6_recovery(t),
        lambda t: figures.fig8_modifications(t),
        lambda t: figures.methods_auc(t),
        lambda t: figures.ablation_bars(t, "loss"),
        lambda t: figures.table_vs_paper(t, t),
    ],
)
def test_a_missing_column_is_named(make: Callable[[pd.DataFrame], Figure]) -> None:
    with pytest.raises(UserError, match=r"lacks .*\(it has colour\)"):
        make(pd.DataFrame({"colour": [1]}))


def test_roles_differ_without_colour() -> None:
    """Marker and filling together, for roles that share axes."""
    roles = ("victim", "piracy", "soft_piracy", "homologous", "same_data", "other_victim")
    assert len({(figures.MARKERS[r], marker_fill(r) == "white") for r in roles}) == len(roles)
