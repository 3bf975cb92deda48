"""Intervals over models resample parents, and both sides of a ratio."""

import numpy as np
import pandas as pd
import pytest

from uapfp_dist.reporting.sections.intervals import clustered_interval, interval, over_models, with_interval
from uapfp_dist.statistics.intervals import clopper_pearson


def test_an_interval_needs_two_models() -> None:
    assert np.isnan([*interval([0.5]), *interval([]), *interval([0.5, 0.6], [0.5], of=np.divide)]).all()
    low, high = interval([0.2, 0.4, 0.9])
    assert 0.2 <= low < 0.5 < high <= 0.9


def test_an_interval_of_a_ratio_resamples_both_sides() -> None:
    rng = np.random.default_rng(0)
    above, below = rng.normal(3, 0.3, 40).tolist(), rng.normal(1, 0.1, 40).tolist()
    low, high = interval(above, below, of=np.divide)
    assert low < np.mean(above) / np.mean(below) < high
    # The relative errors of the two means, 1.6 % each, add as squares.
    assert high - low == pytest.approx(2 * 1.96 * 3 * 0.1 * np.sqrt(2 / 40), rel=0.3)
    assert interval(above, [1.0, 1.0], of=np.divide) == pytest.approx(interval(above))


def test_an_interval_resamples_parents() -> None:
    """Copies of a model add nothing; unmodified models keep their numbers to the last bit."""
    values = [0.2, 0.4, 0.9]
    alone = clustered_interval(values, ["a", "b", "c"])
    assert alone == interval(values)
    copies = clustered_interval(values * 10, ["a", "b", "c"] * 10)
    assert copies == pytest.approx(alone, abs=0.05)
    assert copies[1] - copies[0] > 2 * np.subtract(*interval(values * 10)[::-1])
    assert np.isnan(clustered_interval([0.1, 0.9], ["a", "a"])).all()
    unequal = clustered_interval([0.0] * 99 + [1.0], ["a"] * 99 + ["b"])  # parents are drawn, then all made of them
    assert unequal == (0.0, 1.0)
    table = pd.DataFrame({"role": ["x"] * 3, "base": ["a", "a", "b"], "similarity": values})
    (row,) = over_models(table, ["role"], ["similarity"], ["similarity"]).to_dict("records")
    assert (row["similarity_low"], row["similarity_high"]) == clustered_interval(values, ["a", "a", "b"])
    assert row["models"] == 3


def test_means_over_models_keep_their_order_and_say_how_many() -> None:
    table = pd.DataFrame({"variant": ["b", "a", "b"], "similarity": [0.1, 0.9, 0.3], "accused": [0.0, 1.0, 1.0]})
    found = over_models(table, ["variant"], ["similarity", "accused"], ["similarity"])
    assert found["variant"].to_list() == ["b", "a"]
    assert found["models"].to_list() == [2, 1]
    assert found["similarity"].to_list() == [0.2, 0.9]
    assert found["similarity_low"].to_list() == [0.1, pytest.approx(float("nan"), nan_ok=True)]
    assert "accused_low" not in found
    assert with_interval("x", 1.5, (1.25, 2.0)) == {"x": 1.5, "x_low": 1.25, "x_high": 2.0}


def test_only_shares_that_are_all_alike_have_an_exact_interval() -> None:
    """A similarity of 1 to all models is no count: resampling it shows no spread, and none is made up."""
    for value in (0.0, 1.0):
        values, parents = [value] * 6, ["a", "b", "c"] * 2
        assert interval(values) == clustered_interval(values, parents) == (value, value)
        assert interval(values, shares=True) == clopper_pearson(6 * value, 6)
        assert clustered_interval(values, parents, shares=True) == clopper_pearson(3 * value, 3)
        assert clustered_interval(values, list("abcdef"), shares=True) == clopper_pearson(6 * value, 6)
        table = pd.DataFrame({"role": ["x"] * 6, "similarity": values, "fooling_rate": values})
        names = ["similarity", "fooling_rate"]
        (row,) = over_models(table, ["role"], names, names, shares=names[1:]).to_dict("records")
        assert (row["similarity_low"], row["similarity_high"]) == (value, value)
        assert (row["fooling_rate_low"], row["fooling_rate_high"]) == clopper_pearson(6 * value, 6)
    assert interval([0.2, 0.4, 0.9], shares=True) == interval([0.2, 0.4, 0.9])
