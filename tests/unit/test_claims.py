"""The paper's claims, graded from numbers written by hand."""

import math

import pytest
from numbers_by_hand import NOTHING, claim, data, filled, modified

from uapfp_dist.reporting.recovery_schema import RecoveryBin
from uapfp_dist.reporting.reference_schema import MatchingRates, SubspaceNumbers
from uapfp_dist.reporting.section_schema import (
    AdversarialGroup,
    ClaimCheck,
    SectionNumbers,
    SweepNumbers,
    TTestRates,
)
from uapfp_dist.reporting.sections.claims import check_claims
from uapfp_dist.reporting.sections.paper_scoring import PaperScoring
from uapfp_dist.response_format import PROBABILITIES
from uapfp_dist.statistics.auc import Estimate


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
    assert "detects 90.0% of piracy (the paper: all) and accuses 12.5% of homologous models" in found.measured
    assert "an unknown share" in claim("abstract").measured


def test_a_claim_graded_on_a_substitute_says_so() -> None:
    """Similarities of Figures 6 and 8, and the t-test's, are those of `uap` where `uap_paper` was left out."""
    stop = filled(AdversarialGroup, role="piracy", labels="own", iterations=120, similarity=0.9, accuracy=0.8)
    start = filled(RecoveryBin, recovery_bin=0.78, similarity=0.9, models=3)
    sections = SectionNumbers(modifications=modified(unmodified=0.9, INT8=0.9), adversarial=(stop,), recovery=(start,))
    on_substitute = data()
    on_substitute.paper_scoring = PaperScoring.among(("uap",), (PROBABILITIES,))
    remark = "; by `uap`, norms averaged, on probabilities: `uap_paper` was not computed"
    for about in ("Fig. 8 left", "Fig. 8 right", "Fig. 6 right", "abstract"):
        alone = claim(about, sections)
        (found,) = [c for c in check_claims(on_substitute, sections).numbers.claims or () if about in c.claim]
        assert found.measured == alone.measured + remark
        assert found.outcome == alone.outcome != "not measured"
    for about in ("Fig. 8 left", "Fig. 8 right", "Fig. 6 right"):
        (found,) = [c for c in check_claims(on_substitute, NOTHING).numbers.claims or () if about in c.claim]
        assert found.measured == "not measured"


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
