"""Intervals of rates over zoos: honest about few zoos, and about zoos that are all alike."""

import numpy as np
import pytest

from uapfp_dist.statistics.intervals import clopper_pearson
from uapfp_dist.verification.kit.info import Accused
from uapfp_dist.verification.reports.rates_over_zoos import FEWEST_ZOOS, interval, what_varies


def zoos(*caught: int, of: int = 24) -> list[dict[str, Accused]]:
    """Of so many models in each zoo so many were accused."""
    return [{"all": Accused(n, of)} for n in caught]


@pytest.mark.parametrize("n_zoos", [1, 2, 6])
@pytest.mark.parametrize("caught", [0, 24])
def test_zoos_that_are_all_alike_leave_a_doubt(caught: int, n_zoos: int) -> None:
    found = interval(zoos(*[caught] * n_zoos), "all")
    assert found[2:] == clopper_pearson(caught * n_zoos, 24 * n_zoos)
    assert found[2] < found[3]


def test_few_zoos_are_not_resampled() -> None:
    """Their interval is that of independent models, and says so."""
    assert interval(zoos(20, 4), "all") == (24, 48, *clopper_pearson(24, 48))
    assert what_varies(2) == "95 %, Clopper-Pearson, as if all models were independent"
    assert what_varies(1) == "95 %, Clopper-Pearson, as if the models of one zoo were independent"
    assert what_varies(FEWEST_ZOOS).startswith("95 % over zoos")


def test_zoos_that_differ_widen_the_interval() -> None:
    """Far beyond that of 144 independent models, and never below it."""
    apart, alike = (interval(zoos(*caught), "all") for caught in ((2, 6, 10, 14, 18, 22), (12, 12, 12, 12, 12, 12)))
    assert alike[2:] == clopper_pearson(72, 144)
    assert apart[3] - apart[2] > 2 * (alike[3] - alike[2])


def test_a_zoo_without_such_models_counts_none() -> None:
    assert interval([*zoos(3), {}], "all")[:2] == (3, 24)


def test_intervals_cover_the_rate_of_further_zoos() -> None:
    """Of 200 studies of six zoos whose rates spread by .12 at least 85 in 100 hold the mean rate."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        caught = rng.binomial(24, np.clip(rng.normal(0.7, 0.12, 6), 0, 1))
        *_, low, high = interval(zoos(*caught.tolist()), "all")
        held += low <= 0.7 <= high
    assert held >= 170
