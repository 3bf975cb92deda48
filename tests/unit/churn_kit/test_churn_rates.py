"""How often a kit of churn points accuses, and that kit and verdict state the same."""

import math
from dataclasses import replace

import pytest
import torch
from churn_kits import one
from kits import BUDGETS, N_CLASSES, SETS, answers, make_churn_kit

from uapfp_dist.response_format import LABEL
from uapfp_dist.verification.enrollment.kit_description import with_rates
from uapfp_dist.verification.judging.accusation_rates import measure_churn_rates, measure_rates
from uapfp_dist.verification.judging.other_looks import OtherLooks
from uapfp_dist.verification.judging.verdict import Caught
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.kit.text import kit_text


@pytest.mark.parametrize("n", [40, pytest.param(120, marks=pytest.mark.slow)])
def test_false_accusations_stay_below_alpha(n: int) -> None:
    """Suspects drawn like the calibration models, by any set and budget."""
    accused = 0
    for seed in range(n):
        kit = make_churn_kit("full", per_group=9, alpha=0.2, seed=seed)
        assert kit.churn is not None
        accused += one(kit, answers(kit, 0.2, seed), seed % SETS, BUDGETS[seed % 3]).claim == "piracy"
    assert accused / n <= 0.2 + 2 * math.sqrt(0.2 * 0.8 / n)


def test_rates_are_of_every_set_and_budget_by_the_judges_own_arithmetic(kit: Kit) -> None:
    assert kit.churn is not None
    rates = measure_churn_rates(kit)
    assert [(r.point_set, r.n_points) for r in rates] == [(s, n) for s in range(SETS) for n in BUDGETS]
    stolen = [i for i, r in enumerate(kit.info.models) if r.group == "piracy"]
    for rate in rates:
        caught = 0
        for row in stolen:
            given = answers(kit, 0.0)
            points = kit.churn.points[rate.point_set]
            labels = kit.victim_labels[points] + ~kit.churn.agrees[row, rate.point_set]
            given[points] = torch.eye(N_CLASSES)[labels % N_CLASSES]
            caught += one(kit, given, rate.point_set, rate.n_points).claim == "piracy"
        assert rate.power["all"] == (caught, len(stolen))


def test_a_kit_says_what_it_sends_and_whom_it_accuses(kit: Kit) -> None:
    """In every format; a light one has no stolen models but those of this test."""
    found = measure_rates(kit)
    assert list(found) == list(kit.info.decided_by)
    for fmt, rates in found.items():
        assert rates.queries == len(kit.required_images(fmt, None))
        assert rates.decided_by == kit.methods[0]
        assert rates.of(rates.decided_by).power["all"] == measure_churn_rates(kit)[len(BUDGETS) - 1].power["all"]
    text = kit_text(with_rates(kit))
    power = found[LABEL].of(kit.methods[0]).power["all"]
    assert f"by its label, this kit accuses {power[0]} of {power[1]} stolen ones and" in text.splitlines()[0]
    assert f"label: by {kit.methods[0]}, {found[LABEL].queries} images: stolen " in text


def for_five(size: str = "full") -> Kit:
    """A kit for five suspects, 99 models a group; two of one score as high as the stolen ones, whose p is 3 / 100."""
    kit = make_churn_kit(size, per_group=99)
    assert kit.churn is not None
    agrees = kit.churn.agrees.clone()
    agrees[[0, 1, *(i for i, row in enumerate(kit.info.models) if row.group == "piracy")]] = True
    return replace(kit, info=replace(kit.info, max_suspects=5), churn=replace(kit.churn, agrees=agrees))


@pytest.mark.parametrize("size", ["full", "light"])
def test_a_kit_for_several_states_the_power_that_its_verdicts_have(size: str) -> None:
    """Five times 3 / 100 accuses nobody, though each alone would be caught; kit, verdict and text say so."""
    kit = for_five(size)
    alone = replace(kit, info=replace(kit.info, max_suspects=1))
    given = answers(kit, 1.0)  # as high as the stolen ones
    for one_of, n, words in ((alone, 6, "one at a time"), (kit, 0, "each corrected for 5 suspects")):
        verdict = one(one_of, given, looks=OtherLooks((), "a" * 64))
        assert (verdict.claim == "piracy") == (n > 0)
        assert verdict.power["all"] == Caught(n, 6)
        assert any(f"this kit catches {n} with the images answered, {words}." in limit for limit in verdict.limits)
        assert all(rates.power["all"] == (n, 6) for rates in measure_churn_rates(one_of))
        assert measure_rates(one_of)[LABEL].of(kit.methods[0]).power["all"] == (n, 6)
    assert verdict.n_corrected == 5
    said, said_alone = (kit_text(with_rates(one_of)).splitlines()[0] for one_of in (kit, alone))
    assert "judged alone at alpha 0.05, corrected for 5 suspects, by its label, this kit accuses 0 of 6" in said
    assert "judged alone at alpha 0.05, by its label, this kit accuses 6 of 6" in said_alone
    assert with_rates(kit).info.rates_level == 0.05 / 5
    assert with_rates(alone).info.rates_level is None


def test_a_kit_that_counted_its_rates_uncorrected_says_so() -> None:
    """As kits for several suspects did before."""
    rated = with_rates(for_five())
    earlier = replace(rated, info=replace(rated.info, rates_level=None))
    assert "alpha 0.05 (uncorrected; verdicts are corrected for 5 suspects and accuse fewer), by its" in kit_text(
        earlier
    )
