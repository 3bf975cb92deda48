"""The paper's claims and numbers, graded from numbers written by hand."""

import math
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pytest

from uapfp_dist.reporting.recovery_schema import RecoveryBin
from uapfp_dist.reporting.reference_schema import MatchingRates, SubspaceNumbers
from uapfp_dist.reporting.section_schema import (
    AdversarialGroup,
    ClaimCheck,
    ModifiedGroup,
    SectionNumbers,
    SweepNumbers,
    TTestRates,
    ZooNumbers,
    rows_of,
)
from uapfp_dist.reporting.sections.claims import check_claims
from uapfp_dist.reporting.sections.intervals import clustered_interval, interval, over_models, with_interval
from uapfp_dist.reporting.sections.paper_comparison import paper_comparison
from uapfp_dist.reporting.sections.recovery import binned
from uapfp_dist.statistics.auc import Estimate

T = TypeVar("T")
NOTHING = SectionNumbers()


def filled(kind: type[T], **values: object) -> T:
    """A row in which all other numbers are NaN."""
    return kind(**{item.name: math.nan for item in fields(kind)} | values)  # type: ignore[arg-type]


def data(**auc: dict[str, float]) -> Any:
    """What claims may look at: AUC against homologous models by method and format."""
    areas = {"uap": {}, "uap_paper": {"prob": 0.99}, **auc}
    report = SimpleNamespace(
        auc={m: {fmt: {"homologous": value} for fmt, value in formats.items()} for m, formats in areas.items()},
        auc_detail={
            m: {fmt: {"homologous": Estimate(value, value - 0.1, 1.0, value, 0.0)} for fmt, value in formats.items()}
            for m, formats in areas.items()
        },
        calibration=SimpleNamespace(models=19),
        power=SimpleNamespace(conformal=0.8),
        uap=SimpleNamespace(fooling_rate=0.84),
    )
    config = SimpleNamespace(uap=SimpleNamespace(xi_fractions=(0.5, 0.7)))
    plan = SimpleNamespace(config=config, churn=None, data=SimpleNamespace(name="fashion_mnist"))
    members = tuple(SimpleNamespace(role=role) for role in ("victim", "piracy", "homologous", "same_data"))
    judged = SimpleNamespace(members=members)
    return SimpleNamespace(report=report, alpha=0.05, plan=plan, setting="by hand", judged=judged)


def claim(about: str, sections: SectionNumbers = NOTHING, **auc: dict[str, float]) -> ClaimCheck:
    """The claim with `about` in its text."""
    (one,) = [c for c in check_claims(data(**auc), sections).numbers.claims or () if about in c.claim]
    return one


# --- claims


def test_references_are_compared_in_the_papers_own_format() -> None:
    """What labels or the chosen format would give them is another comparison."""
    words = "tell piracy from homologous"
    low = {"clean": {"prob": 0.5}, "random": {"prob": 0.5}, "confidence": {"prob": 0.5}}
    other = {"clean": {"prob": 0.5, "hard": 1.0, "chosen": 1.0}, "random": {"hard": 1.0, "chosen": 1.0}}
    low["uap_paper_probe"] = {"prob": 0.985}
    alone = claim(words, **low | other)
    assert (alone.outcome, alone.measured) == ("reproduced", "0.990, 0.985 on images that nothing trained on")
    equalled = claim(words, **low | {"random": {"prob": 0.986, "chosen": 0.5}})
    assert equalled.outcome == "partly"
    assert equalled.measured.endswith("as good without any UAP: random")
    assert claim(words, **low | {"random": {"prob": 0.984}}).outcome == "reproduced"


def test_one_uap_is_compared_with_one_random_vector() -> None:
    """Several of them, through several encoders, are compared with `uap`."""
    words = "tell piracy from homologous"
    low = {m: {"prob": 0.5} for m in ("clean", "random_paper", "confidence")} | {"uap_paper_probe": {"prob": 0.985}}
    assert claim(words, **low, random={"prob": 1.0}).outcome == "reproduced"
    equalled = claim(words, **low | {"random_paper": {"prob": 0.99}})
    assert equalled.measured.endswith("as good without any UAP: random_paper")


@pytest.mark.parametrize(
    ("gap", "low", "outcome"),
    [(0.5, 0.3, "reproduced"), (0.5, math.nan, "reproduced"), (0.01, -0.02, "not reproduced"),
     (-0.01, -0.03, "not reproduced"), (-0.01, math.nan, "not reproduced")],
)  # fmt: skip
def test_a_gap_that_is_not_there_has_no_plateau(gap: float, low: float, outcome: str) -> None:
    """Equal gaps at all numbers of points and confidences; a negative one is nearer to 0 at a part of the points."""
    cells = {n: filled(SweepNumbers, gap=gap, gap_low=low, gap_high=gap + 0.1) for n in ("3", "7", "10")}
    for about in ("plateau", "three confidences"):
        assert claim(about, SectionNumbers(n_points=cells, top_k=cells)).outcome == outcome


def test_a_claim_whose_methods_were_left_out_says_so() -> None:
    """What was not computed could have done as well: the claim never passes for want of it; it may fail without it."""
    words = "tell piracy from homologous"
    low = {"clean": {"prob": 0.5}, "random": {"prob": 0.5}, "uap_paper_probe": {"prob": 0.99}}
    without = claim(words, **low)
    assert (without.outcome, without.measured) == (
        "not measured",
        "0.990, 0.990 on images that nothing trained on; not computed: confidence",
    )
    equalled = claim(words, random={"prob": 1.0})
    assert equalled.outcome == "partly"
    assert equalled.measured.endswith("not computed: uap_paper_probe, clean, confidence")
    for about, absent in (("local perturbations", "lap_paper"), ("IPGuard", "ipguard_tuned")):
        left_out = claim(about)
        assert (left_out.outcome, left_out.measured) == ("not measured", f"not computed: {absent}")


def test_detection_rests_on_images_that_nothing_trained_on() -> None:
    """On D_v membership helps: with .93 on PROBE, or with a reference as good there, it is partly at most."""
    words, low = "tell piracy from homologous", {m: {"prob": 0.5} for m in ("clean", "random", "confidence")}
    assert claim(words, **low, uap_paper_probe={"prob": 0.93}).outcome == "partly"
    assert claim(words, **low, uap_paper_probe={"prob": 0.6}).outcome == "not reproduced"
    assert claim(words, **low).outcome == "not measured"
    equalled = claim(words, **low, uap_paper_probe={"prob": 0.985}, clean_probe={"prob": 0.984})
    assert equalled.outcome == "partly"
    assert equalled.measured.endswith("as good without any UAP: clean_probe")


def test_ipguard_is_the_tuned_one() -> None:
    """What was called so before, whose target need not be reached, says nothing of the claim; its points are told."""
    assert claim("beat IPGuard", ipguard={"hard": 0.1, "prob": 0.1}).outcome == "not measured"
    rates = {"points_of": "D_v", "tried": 100, "chosen": 1.0, "rate": {}}
    rows = tuple(MatchingRates(k=k, points=n, **rates) for k, n in ((0.0, 100), (10.0, 3)))  # type: ignore[arg-type]
    areas = {"ipguard": {"hard": 0.1}, "ipguard_tuned": {"hard": 0.95, "prob": 0.9}}
    found = claim("beat IPGuard", SectionNumbers(ipguard=rows), **areas)
    assert found.outcome == "partly"
    assert found.measured.endswith("on at least 3 of 100 points")


@pytest.mark.parametrize(
    ("theirs", "outcome"), [(0.8, "reproduced"), (0.74, "reproduced"), (0.72, "partly"), (0.5, "partly")]
)
def test_beating_an_ipguard_far_below_the_papers_is_partly(theirs: float, outcome: str) -> None:
    """The paper's has .83 on these data: one at chance is none that was reproduced."""
    found = claim("beat IPGuard", ipguard_tuned={"hard": theirs, "prob": 0.4})
    assert found.outcome == outcome
    assert found.measured.endswith("; the paper's IPGuard has 0.83") == (outcome == "partly")


@pytest.mark.parametrize(
    ("cosine", "outcome"), [(0.02, "reproduced"), (0.6, "not measured"), (math.nan, "not measured")]
)
def test_inconsist_is_that_of_uaps_that_have_forgotten_their_start(cosine: float, outcome: str) -> None:
    """What all models' UAPs have in common pulls the ratio towards 1: no evidence either way."""
    numbers = filled(SubspaceNumbers, ratio_homologous_over_piracy=2.5, start_cosine=cosine)
    found = claim("Inconsist", SectionNumbers(subspace=numbers))
    assert found.outcome == outcome
    assert ("not known" in found.measured) == math.isnan(cosine)


def test_local_perturbations_are_named_with_their_norm() -> None:
    areas = {"uap": 0.98, "lap": 0.96, "lap_minimal": 0.97, "lap_paper": 0.9, "random_paper": 0.95}
    found = claim("local perturbations", **{name: {"prob": area} for name, area in areas.items()})
    assert found.measured == (
        "AUC 0.990 of one UAP at xi against 0.900 of LAP at xi; one random vector at xi: 0.950; LAP, minimal: 0.970; "
        "UAPs at .5 and .7 xi, averaged: 0.980; LAP at .5 and .7 xi, averaged: 0.960"
    )
    assert found.outcome == "reproduced"
    assert claim("local perturbations").outcome == "not measured"


def modified(**similarities: float) -> tuple[ModifiedGroup, ...]:
    """Rows of the modifications' table, by short names for those that no keyword can hold."""
    names = {"fine_tune": "fine-tune", "last": "fine-tune last layer", "new_last": "fine-tune new last layer",
             "prune": "prune .4", "recovered": "prune .4 + recovery", "both": "prune .4 + fine-tune"}  # fmt: skip
    return tuple(
        filled(
            ModifiedGroup,
            modification=names.get(name, name),
            role="piracy",
            similarity=s,
            lowest_similarity=s - 0.05,
        )
        for name, s in similarities.items()
    )


def test_figure_8_left_is_about_what_the_paper_tried() -> None:
    """Fine-tuning of all layers, pruning without recovery, INT8; not what else stands in the table."""
    kept = {"fine_tune": 0.9, "prune": 0.95, "INT8": 0.96}
    lost = {"last": 0.6, "new_last": 0.2, "recovered": 0.7, "both": 0.3, "distillation": 0.1}
    found = claim("Fig. 8 left", SectionNumbers(modifications=modified(unmodified=0.97, **kept, **lost)))
    assert (found.outcome, found.measured) == ("reproduced", "lowest mean 0.900 (fine-tune; unmodified 0.970)")
    found = claim("Fig. 8 left", SectionNumbers(modifications=modified(unmodified=0.97, **{**kept, "INT8": 0.5})))
    assert (found.outcome, found.measured) == ("not reproduced", "lowest mean 0.500 (INT8; unmodified 0.970)")
    assert (
        claim("Fig. 8 left", SectionNumbers(modifications=modified(unmodified=0.97, **lost))).outcome == "not measured"
    )


def test_the_t_test_of_the_abstract_is_the_papers_own() -> None:
    found = claim("abstract", SectionNumbers(paper_t_test=TTestRates(piracy=0.9, homologous=0.125)))
    assert "detects 90.0% of piracy (the paper: all) and accuses 12.5% of innocent homologous" in found.measured
    assert "an unknown share" in claim("abstract").measured


def identified(**areas: tuple[float, float, float]) -> tuple[ClaimCheck, str]:
    """The claim that UAPs identify the victim, from (AUC, low, high) against piracy of siblings by method; the text."""
    found = data()
    found.plan.churn = object()
    for method, (mean, low, high) in areas.items():
        found.report.auc[method] = {"chosen": {"sibling": mean}}
        found.report.auc_detail[method] = {"chosen": {"sibling": Estimate(mean, low, high, mean, 0.0)}}
    section = check_claims(found, NOTHING)
    return (section.numbers.claims or ())[-1], section.text


@pytest.mark.parametrize(
    ("ours", "noise", "outcome"),
    [
        ((0.95, 0.91, 0.99), (0.90, 0.85, 0.95), "reproduced"),
        ((0.90, 0.86, 0.94), (0.85, 0.80, 0.90), "reproduced"),
        ((0.95, 0.90, 0.99), (0.90, 0.85, 0.95), "partly"),  # no more than noise finds
        ((0.89, 0.88, 0.90), (0.50, 0.40, 0.60), "partly"),
        ((0.751, 0.6, 0.9), (0.99, 0.98, 1.0), "partly"),
        ((0.75, 0.7, 0.8), (0.2, 0.1, 0.3), "not reproduced"),
        ((math.nan, math.nan, math.nan), (0.2, 0.1, 0.3), "not measured"),
        ((0.99, math.nan, math.nan), (0.2, 0.1, 0.3), "not measured"),
    ],
)
def test_uaps_identify_the_victim_where_noise_does_not(
    ours: tuple[float, float, float], noise: tuple[float, float, float], outcome: str
) -> None:
    """On points of PROBE against models stolen from siblings, by a rule of two thresholds."""
    found, _ = identified(uap_probe=ours, random_probe=noise)
    assert found.claim == "UAP fingerprints identify the victim"
    assert found.outcome == outcome
    if outcome == "reproduced":
        assert found.measured.startswith(f"AUC against models stolen from siblings: {ours[0]:.2f} [{ours[1]:.2f}, ")


def test_a_claim_about_siblings_says_what_was_not_computed() -> None:
    """And is not there where an evaluation has no siblings."""
    one, two, three = (0.95, 0.9, 1.0), (0.5, 0.4, 0.6), {"churn": (0.88, 0.7, 0.95)}
    assert identified(uap_probe=one)[0].measured == "not computed: random_probe"
    assert identified()[0].measured == "not computed: uap_probe, random_probe"
    assert identified(uap_probe=one, random_probe=(math.nan,) * 3)[0].measured == "not computed: piracy of siblings"
    assert {identified(**found)[0].outcome for found in ({"uap_probe": one}, {})} == {"not measured"}
    _, text = identified(uap_probe=one, random_probe=two, **three)
    assert (
        "No claim of the paper: AUC against models stolen from siblings by labels on churn points: `churn` 0.88" in text
    )
    without = check_claims(data(), NOTHING)
    assert not any("identify" in c.claim for c in without.numbers.claims or ())
    assert "churn" not in without.text


# --- Figure 6 right


def half_stolen(*recoveries: float) -> pd.DataFrame:
    """A model at each rate, of an extraction of its own; its similarity is its number."""
    table = pd.DataFrame({"recovery": recoveries, "similarity": np.arange(len(recoveries), dtype=float)})
    return table.assign(similarity_chosen=0.5, p_value_chosen=0.05, base=[f"{i}" for i in range(len(recoveries))])


def test_recovery_bins_are_the_figures() -> None:
    """From an edge to below the next, [.78, .80) the first; what lies outside has a row without that edge."""
    table = binned(half_stolen(0.79, 0.94, 0.7799, 0.78, 0.8, 0.9401))
    assert table["models"].to_list() == [1, 2, 1, 1, 1]
    assert table["similarity"].to_list() == [2.0, 1.5, 4.0, 1.0, 5.0]
    assert table["recovery_bin"].to_list()[1:] == [0.78, 0.8, 0.92, 0.94]
    assert table["recovery_to"].to_list()[:-1] == [0.78, 0.8, 0.82, 0.94]
    assert np.isnan([table["recovery_bin"][0], table["recovery_to"].iloc[-1]]).all()
    found = claim("Fig. 6 right", SectionNumbers(recovery=rows_of(RecoveryBin, table)))
    assert found.measured == "1.50 [0.00, 3.00] from .78 to below .80, models: 2"
    elsewhere = rows_of(RecoveryBin, binned(half_stolen(0.77, 0.8)))
    assert claim("Fig. 6 right", SectionNumbers(recovery=elsewhere)).outcome == "not measured"


def test_stops_of_one_extraction_are_no_independent_models() -> None:
    """Ten stops of two extractions have the interval of two."""
    apart = half_stolen(*[0.785] * 10)
    of_two = binned(apart.assign(base=["a", "b"] * 5)).iloc[0]
    assert (of_two["models"], of_two["extractions"]) == (10, 2)
    assert (of_two["similarity_low"], of_two["similarity_high"]) == (4.0, 5.0)
    alone = binned(apart).iloc[0]
    assert alone["extractions"] == 10
    assert alone["similarity_low"] < 4.0 < 5.0 < alone["similarity_high"]
    assert np.isnan(binned(apart.assign(base="a")).iloc[0]["similarity_low"])


# --- intervals over models


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


# --- the paper's numbers


def test_ours_stand_beside_the_papers() -> None:
    """Figures 6 and 8 where they were measured, with the interval that they have there; else a dash."""
    stops = [
        filled(AdversarialGroup, role="piracy", labels="own", iterations=n, accuracy=0.9 - n / 1000)
        for n in (0, 120, 270)
    ]
    stops = [replace(stop, similarity=1 - stop.iterations / 1000) for stop in stops]
    sections = SectionNumbers(
        n_points={str(n): filled(SweepNumbers, gap=gap) for n, gap in ((10, 0.5), (70, 0.79), (100, 0.8))},
        top_k={
            str(k): filled(SweepNumbers, gap=gap, gap_low=gap - 0.1, gap_high=gap + 0.1)
            for k, gap in ((0, 0.3), (1, 0.7), (3, 0.79), (10, 0.8))
        },
        recovery=rows_of(RecoveryBin, binned(half_stolen(0.78, 0.79))),
        modifications=modified(unmodified=0.97, fine_tune=0.9, INT8=0.5, new_last=0.1),
        adversarial=(*stops, replace(stops[1], labels="true", similarity=0.1)),
        zoo=ZooNumbers(mean_recovery=0.97, mean_recovery_low=0.96, mean_recovery_high=0.98),
    )
    found = paper_comparison(data(ipguard_tuned={"hard": 0.4}, ipguard={"hard": 0.9}), sections)
    table = found.tables["beside_paper"].set_index(["where", "quantity"])
    assert [row.quantity for row in found.numbers.beside_paper or ()] == [quantity for _, quantity in table.index]
    ours = {quantity: row["ours"] for (_, quantity), row in table.iterrows()}
    assert ours["points from which the gap grows no more"] == 70
    assert ours["top k from which the gap is stable"] == 3
    assert ours["similarity gap at top_k 1"] == 0.7
    assert ours["mean similarity at a recovery of .78"] == 0.5
    assert ours["least similarity, fine-tuned, pruned or INT8"] == pytest.approx(0.45)
    assert ours["similarity after 120 adversarial iterations"] == 0.88
    assert ours["similarity at the end of the drop that follows"] == 0.73
    assert ours["utility lost after 270 adversarial iterations"] == pytest.approx(0.27)
    assert ours["models trained, the victim included"] == 3
    assert np.isnan(ours["mean Inconsist of homologous over that of piracy models"])
    rows = table.reset_index().set_index("quantity")
    assert rows.loc["piracy model's accuracy over the victim's", ["paper", "ours", "ours_low"]].to_list() == [
        "0.85", 0.97, 0.96,
    ]  # fmt: skip
    assert rows.loc["AUC of IPGuard", ["paper", "ours", "ours_high"]].to_list() == ["0.83", 0.4, 1.0]
    assert rows.loc["fooling rate of the UAP on the victim", "holds"] == "yes"
