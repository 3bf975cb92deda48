"""Maps of a grid: means over draws, and legible however many columns there are."""

from itertools import combinations

import pandas as pd
import pytest
from drawing import drawn, texts

from uapfp_dist.reporting.figures.grids import grid_maps


def grid_of(xs: list[object], ys: list[object]) -> pd.DataFrame:
    """Two draws for each pair; AUC grows along x, one field was not measured."""
    rows = [
        {"n_points": x, "top_k": y, "auc": 0.6 + 0.05 * i + 0.02 * draw, "gap": -0.001}
        for i, x in enumerate(xs)
        for j, y in enumerate(ys)
        for draw in (0, 1)
        if (i, j) != (1, 1)
    ]
    return pd.DataFrame(rows)


def test_a_field_holds_the_mean_over_draws() -> None:
    figure = drawn(lambda: grid_maps(grid_of([5, 10, 20], [0, 1]), "n_points", "top_k"))
    area, gap = (sorted(t.get_text() for t in axis.texts) for axis in figure.axes)
    assert area == sorted([".61", ".61", ".66", ".71", ".71"])
    assert gap == [".00"] * 5
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["5", "10", "20"]


@pytest.mark.parametrize("n", [2, 8, 9, 24, 40])
def test_maps_are_legible(n: int) -> None:
    """Nothing is cut, nothing overlaps, however many columns, however long their names."""
    for name in ("{}", "a_rather_long={}"):
        table = grid_of([name.format(i) for i in range(n)], list(range(5)))
        figure = drawn(lambda table=table: grid_maps(table, "n_points", "top_k"))
        boxes = [(t.get_text(), t.get_window_extent()) for t in texts(figure)]
        for text, box in boxes:
            assert figure.bbox.x0 - 1 <= box.x0 < box.x1 <= figure.bbox.x1 + 1, text
            assert figure.bbox.y0 - 1 <= box.y0 < box.y1 <= figure.bbox.y1 + 1, text
        for (a, one), (b, other) in combinations(boxes, 2):
            wide, high = min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0)
            assert min(wide, high) <= 1.5, f"{a!r} and {b!r} overlap"


def test_poor_maps() -> None:
    """Nothing, one field, nothing but NaN."""
    for table in (pd.DataFrame(), grid_of([1], [1]), grid_of([1, 2], [1]).assign(auc=float("nan"))):
        drawn(lambda table=table: grid_maps(table, "n_points", "top_k"))
