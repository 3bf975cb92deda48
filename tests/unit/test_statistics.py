"""The statistics of accusation: what may be claimed, from how many models, with which error."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score

from uapfp_dist.rng import numpy_rng
from uapfp_dist.statistics.auc import auc, auc_over_resamples, gap_over_resamples, tpr_at_fpr
from uapfp_dist.statistics.conformal import conformal_p, decide, needed_for
from uapfp_dist.statistics.t_test import T_TEST_FINGERPRINTS, T_TEST_REPEATS, paper_t_test


@pytest.mark.parametrize(
    ("score", "expected"),
    [(0.9, 1 / 5), (0.8, 2 / 5), (0.75, 2 / 5), (0.5, 4 / 5), (0.1, 5 / 5), (-1.0, 5 / 5)],
)
def test_conformal_p_counts_the_negatives_that_score_as_high(score: float, expected: float) -> None:
    """(1 + #{calibration >= suspect}) / (1 + m); ties count against the accusation."""
    assert conformal_p(score, [0.1, 0.5, 0.5, 0.8]) == pytest.approx(expected)


def test_conformal_p_never_goes_below_what_its_models_support() -> None:
    """However extreme the suspect, m models support no more than 1 / (m + 1): 99.99 % takes 9,999 of them."""
    for m in (1, 19, 99):
        assert conformal_p(math.inf, [0.0] * m) == 1 / (m + 1)


def continuous(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Scores without ties."""
    return rng.normal(size=shape)


def tied(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Scores of few values."""
    return rng.integers(0, 4, size=shape).astype(float)


@pytest.mark.parametrize("m", [19, 39])
@pytest.mark.parametrize("sample", [continuous, tied])
def test_negatives_are_accused_at_alpha_at_most(
    sample: Callable[[np.random.Generator, tuple[int, int]], np.ndarray], m: int
) -> None:
    """Under exchangeability P(p <= a) <= a for every a, and = a without ties where a is a multiple of 1 / (m + 1)."""
    trials = 4000
    scores = sample(numpy_rng("exchangeable", m), (trials, m + 1))
    p = np.array([conformal_p(row[0], row[1:].tolist()) for row in scores])
    for alpha in (0.05, 0.1, 0.25, 0.5, 0.9):
        error = 4 * math.sqrt(alpha * (1 - alpha) / trials)
        rate = float((p <= alpha + 1e-12).mean())
        assert rate <= alpha + error
        if sample is continuous:
            assert rate >= alpha - error


@pytest.mark.parametrize(("alpha", "models"), [(0.05, 19), (0.01, 99), (0.1, 9), (0.5, 1), (0.3, 3), (0.0001, 9999)])
def test_models_needed_for_alpha(alpha: float, models: int) -> None:
    """The fewest m with 1 / (m + 1) <= alpha."""
    assert needed_for(alpha) == models
    assert 1 / (models + 1) <= alpha + 1e-12 < 1 / models


def test_decision_takes_the_largest_p_over_groups_large_enough() -> None:
    """Negatives of one kind are enough to doubt; a group too small for alpha is named and has no say."""
    low, high = [0.1] * 19, [*[0.1] * 18, 0.95]
    assert decide(0.9, {"homologous": low}, 0.05).claim == "piracy"
    doubted = decide(0.9, {"homologous": low, "same_data": high}, 0.05)
    assert doubted.claim == "inconclusive"
    assert doubted.p_value == pytest.approx(conformal_p(0.9, high))
    assert doubted.not_calibrated_against == ()
    small = decide(0.9, {"homologous": low, "same_data": high[1:]}, 0.05)
    assert small.claim == "piracy"
    assert small.p_value == pytest.approx(1 / 20)
    assert small.not_calibrated_against == ("same_data",)


@pytest.mark.parametrize(("m", "alpha"), [(18, 0.05), (98, 0.01), (0, 0.5)])
def test_too_few_models_decide_nothing(m: int, alpha: float) -> None:
    """It is said plainly, however the suspect scores; one model more and the claim can be made."""
    verdict = decide(math.inf, {"homologous": [0.0] * m}, alpha)
    assert verdict.claim == "cannot decide at this alpha"
    assert verdict.p_value > alpha
    assert verdict.not_calibrated_against == ("homologous",)
    assert decide(math.inf, {"homologous": [0.0] * (m + 1)}, alpha).claim == "piracy"


def test_a_group_that_is_required_decides_or_nobody_does() -> None:
    """Its being too small is not made up for by another group; p is then the largest of all."""
    low = [0.1] * 19
    few = decide(0.9, {"homologous": low[:10], "other_victim": low}, 0.05, required=("homologous",))
    assert (few.claim, few.p_value) == ("cannot decide at this alpha", pytest.approx(1 / 11))
    assert few.not_calibrated_against == ("homologous",)
    assert decide(0.9, {"other_victim": low}, 0.05, required=("homologous",)).claim == "cannot decide at this alpha"
    enough = decide(0.9, {"homologous": low, "other_victim": low[:10]}, 0.05, required=("homologous",))
    assert (enough.claim, enough.not_calibrated_against) == ("piracy", ("other_victim",))


def test_no_calibration_at_all_decides_nothing() -> None:
    """Without negatives nothing is accused."""
    verdict = decide(1.0, {}, 0.05)
    assert (verdict.claim, verdict.p_value) == ("cannot decide at this alpha", 1.0)


def test_a_score_that_is_not_a_number_accuses_nobody() -> None:
    """A suspect whose score is NaN has shown no similarity; a negative with NaN is no evidence against the suspect."""
    assert conformal_p(math.nan, [0.1] * 19) == 1.0
    assert decide(math.nan, {"homologous": [0.1] * 19}, 0.05).claim == "inconclusive"
    assert conformal_p(0.9, [math.nan] * 19) == 1.0


@pytest.mark.parametrize(("n_suspect", "n_homologous"), [(20, 400), (50, 60), (8, 12)])
def test_paper_t_test_is_scipys_one_repeat_at_a_time(n_suspect: int, n_homologous: int) -> None:
    """Mean p of 30 one-sided two-sample t-tests on 20 fingerprints a side (all where there are fewer)."""
    rng = numpy_rng("scores", n_suspect)
    suspect, homologous = rng.normal(0.3, 1.0, n_suspect), rng.normal(0.0, 1.0, n_homologous)
    found = paper_t_test(torch.from_numpy(suspect), torch.from_numpy(homologous), numpy_rng("t"))
    rng = numpy_rng("t")
    sides = [
        [rng.choice(side, min(T_TEST_FINGERPRINTS, len(side)), replace=False) for _ in range(T_TEST_REPEATS)]
        for side in (suspect, homologous)
    ]
    p = [stats.ttest_ind(a, b, alternative="greater").pvalue for a, b in zip(*sides, strict=True)]
    assert found == pytest.approx(float(np.mean(p)), rel=1e-9)


@pytest.mark.parametrize(("suspect", "homologous", "p"), [(1.0, 0.2, 0.0), (0.2, 1.0, 1.0), (0.5, 0.5, 1.0)])
def test_paper_t_test_of_constants_compares_means(suspect: float, homologous: float, p: float) -> None:
    """Two samples without spread have no t: above is 0, equal or below is 1, never NaN."""
    ours, theirs = torch.full((20,), suspect), torch.full((60,), homologous)
    assert paper_t_test(ours, theirs, numpy_rng("t")) == p


def test_paper_t_test_accuses_negatives_that_conformal_p_clears() -> None:
    """Twenty fingerprints of one model are not twenty witnesses: why the decision is made by the model.

    Each negative has a level of its own, its fingerprints scatter little around it.
    """
    rng, trials, m = numpy_rng("replication"), 300, 19
    accused_t, accused_p = 0, 0
    for _ in range(trials):
        levels = rng.normal(size=m + 1)
        prints = levels[:, None] + 0.1 * rng.normal(size=(m + 1, 20))
        suspect, calibration = torch.from_numpy(prints[0]), torch.from_numpy(prints[1:])
        accused_t += paper_t_test(suspect, calibration.flatten(), rng) <= 0.05
        accused_p += conformal_p(float(suspect.mean()), calibration.mean(1).tolist()) <= 0.05
    assert accused_t / trials > 0.25
    assert accused_p / trials <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / trials)


def test_auc_is_scikit_learns_with_ties_counted_half() -> None:
    """On scores with and without ties."""
    rng = numpy_rng("auc")
    for positive, negative in (
        (rng.normal(0.5, 1, 30), rng.normal(0, 1, 50)),
        (rng.integers(0, 4, 30).astype(float), rng.integers(0, 3, 50).astype(float)),
        (np.ones(3), np.ones(4)),
    ):
        truth = np.r_[np.ones(len(positive)), np.zeros(len(negative))]
        expected = roc_auc_score(truth, np.r_[positive, negative])
        assert auc(torch.from_numpy(positive), torch.from_numpy(negative)) == pytest.approx(expected)


def test_auc_of_an_empty_side_is_unknown() -> None:
    """Neither 0 nor a half."""
    assert math.isnan(auc(torch.zeros(0), torch.zeros(3)))
    assert math.isnan(auc(torch.zeros(3), torch.zeros(0)))


def scored_models(prefix: str, n: int, level: float, rng: np.random.Generator) -> dict[str, float]:
    """Model id to score."""
    return {f"{prefix}{i}": float(level + rng.normal()) for i in range(n)}


def test_auc_over_resamples_is_the_mean_with_an_interval_over_models() -> None:
    """The interval holds the mean; few models make it wide, and more resamples of the same models no narrower."""
    rng = numpy_rng("bootstrap")
    widths = {}
    for n in (5, 80):
        resample = (scored_models("p", n, 1.0, rng), scored_models("n", n, 0.0, rng))
        one, ten = (auc_over_resamples([resample] * k, numpy_rng("resample")) for k in (1, 10))
        expected = auc(torch.tensor(list(resample[0].values())), torch.tensor(list(resample[1].values())))
        assert one.mean == pytest.approx(expected, abs=1e-6)
        assert one.low <= one.mean <= one.high
        assert (ten.low, ten.high) == pytest.approx((one.low, one.high))
        assert (ten.minimum, ten.std) == pytest.approx((expected, 0.0), abs=1e-6)
        widths[n] = one.high - one.low
    assert widths[5] > 0.3
    # Standard errors go with the square root of the number of models: 4 times here.
    assert 2 < widths[5] / widths[80] < 8


def of_victims(n_victims: int, n_models: int) -> tuple[tuple[dict[str, float], dict[str, float]], dict[str, str]]:
    """Stolen models between 0 and 1; negatives whose score is their victim's; and who was stolen from whom."""
    positive = {f"p{i}": float(x) for i, x in enumerate(np.linspace(0, 1, 40))}
    levels = np.linspace(0, 1, n_victims)
    negative = {f"n{v}/{i}": float(levels[v]) for v in range(n_victims) for i in range(n_models)}
    return (positive, negative), {model: model.split("/")[0] for model in negative}


def test_many_models_of_one_victim_are_one() -> None:
    """The interval is as wide as that of a model a victim, however many there are of each; the AUC is the same."""
    one, ten = (of_victims(6, n) for n in (1, 10))
    by_victim, by_ten = (auc_over_resamples([side], numpy_rng("x"), victims=who) for side, who in (one, ten))
    over_models = auc_over_resamples([ten[0]], numpy_rng("x"))
    assert by_ten.mean == pytest.approx(by_victim.mean) == pytest.approx(over_models.mean)
    assert by_ten.high - by_ten.low == pytest.approx(by_victim.high - by_victim.low, rel=0.1)
    assert over_models.high - over_models.low < 0.75 * (by_ten.high - by_ten.low)


def test_models_of_a_victim_are_resampled_too() -> None:
    """With five equal victims what varies are their models, as if they were drawn from all."""
    positive = {f"p{i}": 0.5 for i in range(40)}
    negative = {f"{v}/{i}": float(i % 2) for v in range(5) for i in range(8)}
    victims = {model: model[0] for model in negative}
    found = auc_over_resamples([(positive, negative)], numpy_rng("x"), victims=victims)
    plain = auc_over_resamples([(positive, negative)], numpy_rng("x"))
    assert found.high - found.low > 0.9 * (plain.high - plain.low) > 0


@pytest.mark.parametrize(("n_victims", "known"), [(1, False), (2, False), (4, False), (5, True)])
def test_there_is_no_interval_with_fewer_than_five_victims(n_victims: int, known: bool) -> None:
    side, victims = of_victims(n_victims, 8)
    found = auc_over_resamples([side], numpy_rng("x"), victims=victims)
    assert math.isnan(found.low) == math.isnan(found.high) == (not known)
    assert not math.isnan(found.mean)


@pytest.mark.parametrize(("n_positive", "n_negative"), [(2, 2), (16, 37), (40, 10)])
def test_models_that_are_all_told_apart_leave_a_doubt(n_positive: int, n_negative: int) -> None:
    """As much as so many models of the smaller side leave: with a 1 in 40 chance all of them would come out alike.

    Were the share of models that are not told apart q, n of n would be told apart with (1 - q)^n.
    """
    positive = {f"p{i}": 1.0 + i for i in range(n_positive)}
    negative = {f"n{i}": -float(i) for i in range(n_negative)}
    found = auc_over_resamples([(positive, negative)] * 3, numpy_rng("x"))
    turned = auc_over_resamples([(negative, positive)] * 3, numpy_rng("x"))
    assert (found.mean, found.high, turned.mean, turned.low) == (1.0, 1.0, 0.0, 0.0)
    assert found.low ** min(n_positive, n_negative) == pytest.approx(0.025)
    assert turned.high == pytest.approx(1 - found.low)
    gap = gap_over_resamples([(positive, negative)], numpy_rng("x"))
    assert gap.low < gap.mean < gap.high, "a difference of means is resampled"


@pytest.mark.parametrize("n_models", [1, 4, 20])
def test_victims_whose_models_are_all_told_apart_leave_a_doubt(n_models: int) -> None:
    """As much as so many victims leave: however many models were stolen of each, they say the same many times."""
    positive = {f"p{i}": 1.0 + i for i in range(16)}
    negative = {f"{v}/{i}": -float(v + i) for v in range(5) for i in range(n_models)}
    victims = {model: model[0] for model in negative}
    found = auc_over_resamples([(positive, negative)] * 3, numpy_rng("x"), victims=victims)
    assert (found.mean, found.high) == (1.0, 1.0)
    assert found.low**5 == pytest.approx(0.025)


def test_auc_over_resamples_spreads_over_them() -> None:
    """Mean, minimum and spread of the resamples' areas; resamples with an empty side are left out."""
    perfect, inverted = ({"a": 1.0}, {"b": 0.0}), ({"a": 0.0}, {"b": 1.0})
    found = auc_over_resamples([perfect, inverted, ({}, {"b": 1.0})], numpy_rng("x"))
    assert (found.mean, found.minimum, found.std) == (0.5, 0.0, 0.5)
    assert math.isnan(found.low), "one model has no interval"
    nothing = auc_over_resamples([({}, {})], numpy_rng("x"))
    assert math.isnan(nothing.mean)
    assert math.isnan(nothing.low)


def test_a_gap_has_the_interval_of_a_difference_of_means() -> None:
    """Against the standard error of independent groups; models, not their appearances in resamples, are what counts."""
    rng = numpy_rng("gap")
    piracy, homologous = scored_models("p", 60, 1.0, rng), scored_models("n", 40, 0.0, rng)
    found = gap_over_resamples([(piracy, homologous)] * 3, numpy_rng("resample"))
    sides = [np.array(list(side.values())) for side in (piracy, homologous)]
    error = math.sqrt(sum(side.var() / len(side) for side in sides))
    assert found.mean == pytest.approx(sides[0].mean() - sides[1].mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert found.low < found.mean < found.high


def test_a_model_weighs_as_much_as_it_is_tested() -> None:
    """Against a bootstrap done by hand over resamples that test other models each."""
    rng = numpy_rng("gap")
    models = scored_models("p", 9, 1.0, rng), scored_models("n", 7, 0.0, rng)
    resamples = [
        tuple({m: s for i, (m, s) in enumerate(side.items()) if i % 4 != d} for side in models) for d in range(4)
    ]
    found = gap_over_resamples([(p, n) for p, n in resamples], numpy_rng("resample"))
    gaps = []
    for _ in range(4000):
        drawn = [rng.choice(list(side), len(side)).tolist() for side in models]
        by_resample = []
        for sides in resamples:
            tested = [[side[m] for m in names if m in side] for side, names in zip(sides, drawn, strict=True)]
            if all(tested):
                by_resample.append(np.mean(tested[0]) - np.mean(tested[1]))
        gaps.append(np.mean(by_resample))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(gaps, [2.5, 97.5])), abs=0.08)


@pytest.mark.parametrize(
    ("positive", "negative", "fpr", "expected"),
    [
        ([3.0, 2.0, 1.0, 0.0], [0.5] * 10, 0.0, 0.75),
        ([3.0, 2.0], [9.0, *[0.0] * 19], 0.05, 1.0),  # one of twenty may be let through
        ([3.0, 2.0], [9.0, *[0.0] * 18], 0.05, 0.0),  # one of nineteen may not
        ([1.0, 1.0], [1.0] * 100, 0.05, 0.0),  # a tie is no catch
        ([2.0, 0.0], [1.0], 1.0, 1.0),
    ],
)
def test_tpr_at_fpr(positive: list[float], negative: list[float], fpr: float, expected: float) -> None:
    """The share above the threshold that at most `fpr` of the negatives exceed."""
    assert tpr_at_fpr(positive, negative, fpr) == expected


def test_tpr_at_fpr_lets_no_more_negatives_through_than_allowed() -> None:
    """And would let more through one step below, whatever the number of negatives (no rounding of n * fpr)."""
    for n in range(1, 400):
        negative = [float(i) for i in range(n)]
        for fpr in (0.01, 0.05, 0.1):
            allowed = math.floor(fpr * n + 1e-9)
            caught = [tpr_at_fpr([rank - 0.5], negative, fpr) for rank in (n - allowed, n - allowed - 1)]
            assert caught == [1.0, 0.0]


def test_tpr_of_an_empty_side_is_unknown() -> None:
    """No models, no rate."""
    assert math.isnan(tpr_at_fpr([], [1.0], 0.05))
    assert math.isnan(tpr_at_fpr([1.0], [], 0.05))
