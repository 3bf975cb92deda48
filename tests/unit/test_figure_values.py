"""What is drawn: curves, intervals, bins and means are those of the numbers."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from drawing import drawn
from every_figure import NAN, modified, resampled, table_2
from matplotlib.collections import PathCollection
from scipy import stats

from uapfp_dist.reporting import figures
from uapfp_dist.reporting.figures.columns import by_value
from uapfp_dist.reporting.figures.marks import scatter_offsets
from uapfp_dist.reporting.figures.recovery import RECOVERY_EDGES, recovery_bin
from uapfp_dist.reporting.figures.roc import roc
from uapfp_dist.statistics.intervals import clopper_pearson


def test_the_area_under_the_curve_is_the_auc() -> None:
    """Against counting pairs, ties counted half."""
    grid = np.linspace(0, 1, 20_001)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        positive, negative = rng.integers(2, 9, 7).astype(float), rng.integers(0, 7, 5).astype(float)
        pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
        rate = roc(positive, negative, grid)
        assert np.trapezoid(rate, grid) == pytest.approx(np.mean(pairs), abs=1e-3)
        assert rate[-1] == 1
        assert all(a <= b for a, b in pairwise(rate))


def test_the_curve_starts_at_what_is_caught_for_free() -> None:
    assert roc(np.array([1.0, 3.0]), np.array([0.0, 2.0]), np.array([0.0, 0.25, 0.5, 1.0])) == pytest.approx(
        [0.5, 0.5, 1, 1]
    )


def test_intervals_are_exact() -> None:
    for k, n in ((0, 10), (3, 10), (10, 10), (1, 1)):
        exact = stats.binomtest(k, n).proportion_ci(0.95, "exact")
        assert clopper_pearson(k, n) == pytest.approx((exact.low, exact.high))


def test_recovery_bins_hold_their_edges() -> None:
    """Each bin has its lower edge, the last one both; arithmetic does not decide."""
    assert len(RECOVERY_EDGES) == 9
    assert recovery_bin(RECOVERY_EDGES).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 7]
    assert recovery_bin(np.array([0.779, 0.7999, 0.8, 0.941])).tolist() == [-1, 0, 1, 8]
    assert recovery_bin(np.array([0.1 + 0.7])).tolist() == [1], "a hair below .8 in floating point"


def test_bins_show_the_mean_of_their_models() -> None:
    table = pd.DataFrame({"role": "piracy", "recovery": [0.79, 0.785, 0.93, 0.5], "similarity": [0.2, 0.6, 0.9, 0.0]})
    (axis,) = drawn(lambda: figures.fig6_recovery(table)).axes
    line = next(line for line in axis.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-")
    assert line.get_xydata() == pytest.approx(np.array([[0.79, 0.4], [0.93, 0.9]]))


def test_bars_beside_the_papers_are_whole() -> None:
    """Of the paper's own some reach beyond [0, 1]; ours may reach farther still."""
    ours = table_2().assign(homologous_std=0.5)
    for table in (table_2(), ours):
        (axis,) = drawn(lambda table=table: figures.table_vs_paper(table, table_2())).axes  # type: ignore[misc]
        ends = np.concatenate([line.get_xdata() for line in axis.lines])
        assert ends.min() < -0.18 < 1.11 < ends.max()
        low, high = axis.get_xlim()
        assert low < ends.min() < ends.max() < high


def test_the_level_beside_p_values_is_within_the_axes() -> None:
    """Also where all p-values are far above it."""
    table = pd.DataFrame({"role": "piracy", "recovery": [0.8, 0.9], "similarity": 0.9, "p_value": [0.4, 0.6]})
    for alpha in (0.01, 0.05, 0.5):
        axis = drawn(lambda alpha=alpha: figures.fig6_recovery(table, alpha)).axes[1]  # type: ignore[misc]
        low, high = axis.get_ylim()
        assert low < alpha < high


def test_values_by_setting_have_the_range_over_draws_or_the_interval_given() -> None:
    table = pd.DataFrame({"n": [2, 2, 1, 1], "auc": [0.5, 0.7, NAN, 0.9]})
    assert by_value(table, "n", "auc").to_dict("list") == {
        "n": [2, 1], "mean": [pytest.approx(0.6), 0.9], "low": [0.5, 0.9], "high": [0.7, 0.9]
    }  # fmt: skip
    known = pd.DataFrame({"n": [1], "auc": [0.5], "auc_low": [0.3], "auc_high": [0.8]})
    assert by_value(known, "n", "auc").to_numpy().tolist() == [[1, 0.5, 0.3, 0.8]]
    for none in (NAN, None):  # a single model has no interval; JSON says null
        single = known.assign(auc_low=none, auc_high=none)
        assert by_value(single, "n", "auc").to_numpy().tolist() == [[1, 0.5, 0.5, 0.5]]


def test_the_unmodified_come_first() -> None:
    figure = drawn(lambda: figures.fig8_modifications(modified()))
    names = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert names[:2] == ["unmodified", "prune .2"]
    low, high = figure.axes[0].get_ylim()
    assert low > high, "the first row stands on top"


def test_every_model_is_a_mark() -> None:
    table = modified()
    axis = drawn(lambda: figures.fig8_modifications(table)).axes[0]
    marks = [c.get_offsets() for c in axis.collections if isinstance(c, PathCollection)]
    assert sorted(np.concatenate(marks)[:, 0]) == pytest.approx(sorted(table["similarity"]))


def test_the_ratio_of_inconsistencies_is_that_of_means() -> None:
    figure = drawn(lambda: figures.fig2b_inconsist({"piracy": [1.0, 3.0], "homologous": [2.0, 8.0]}))
    assert figure.get_suptitle().startswith("independent / stolen: 2.5 ")


def test_distributions_count_from_below() -> None:
    figure = drawn(lambda: figures.fig7_uap_vs_lap({"UAP": {"piracy": np.array([0.05, 0.3, 0.3, 1.0])}}))
    line = figure.axes[0].lines[0]
    assert np.asarray(line.get_ydata()) == pytest.approx([0, 0.25, 0.25, 0.75, 0.75, 0.75, 0.75, 0.75, 0.75, 0.75, 1])


def test_the_bare_label_stands_left_of_one_confidence() -> None:
    figure = drawn(lambda: figures.fig6_top_k(resampled("top_k", (3, 1, 0, 10))))
    ticks = dict(
        zip([t.get_text() for t in figure.axes[0].get_xticklabels()], figure.axes[0].get_xticks(), strict=True)
    )
    assert sorted(ticks, key=ticks.__getitem__) == ["label", "1", "3", "10"]


def test_equal_values_are_kept_apart() -> None:
    offsets = np.sort(scatter_offsets(30, 1.0))
    assert np.abs(offsets).max() <= 0.5
    assert np.diff(offsets).min() > 0.01
