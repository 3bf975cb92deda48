"""The answer of a report: each of its rules from numbers that call for it, and no claim without numbers."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from uapfp_dist.evaluation.judging import NEGATIVE_GROUPS, Group
from uapfp_dist.evaluation.verdicts import Verdict
from uapfp_dist.reporting.answer import MOST, Answer, answer
from uapfp_dist.reporting.number_format import percent
from uapfp_dist.reporting.report_schema import (
    CalibrationSizes,
    EvaluationReport,
    ModelCounts,
    read_report,
)
from uapfp_dist.reporting.summary import WIDTH, summary
from uapfp_dist.reporting.trust import AccusedShare, compare_references, group_trust
from uapfp_dist.statistics.auc import Estimate
from uapfp_dist.statistics.intervals import clopper_pearson

RESULTS = Path(__file__).resolve().parents[2] / "jobs" / "results"
REPORTS = sorted(path for path in RESULTS.glob("*.json") if "auc_detail" in json.loads(path.read_text()))
TEMPLATE = read_report(json.loads((RESULTS / "digits-0.json").read_text()))
EACH = 40
"""Models of each role that resample 0 tests."""


def area(mean: float, half: float = 0.02) -> Estimate:
    """An AUC and its interval."""
    return Estimate(mean=mean, low=mean - half, high=min(1.0, mean + half), minimum=mean, std=0.0)


def verdicts(**counts: int) -> tuple[Verdict, ...]:
    """So many verdicts of each role, none of them a claim."""
    first = replace(TEMPLATE.verdicts[0], claim="inconclusive")
    return tuple(replace(first, role=role) for role, n in counts.items() for _ in range(n))


DEFAULTS = {"random": 0.7, "clean": 0.6, "lap": 0.65}
"""AUC of the references."""


def synthetic(
    *,
    areas: dict[str, dict[Group, float]] | None = None,
    accused: dict[Group, float] | None = None,
    power: float = 0.9,
    calibration: tuple[int, int] = (39, 39),
    tested: int = EACH,
    decided_by: str = "uap",
) -> EvaluationReport:
    """A report in which everything is fine, but for what is given.

    Args:
        areas: method to group of negatives to AUC, beside or in place of the default ones.
        accused: group to the share of its models that is accused.
        calibration: independent models, and models stolen from other victims, that calibrate.
        tested: models of each role.
    """
    groups = dict.fromkeys(NEGATIVE_GROUPS, 0.99)
    table = {"uap": groups} | {name: dict.fromkeys(groups, at) for name, at in DEFAULTS.items()} | (areas or {})
    models, others = calibration
    roles = {"piracy": tested, **dict.fromkeys(NEGATIVE_GROUPS.values(), tested)}
    rates = dict.fromkeys(NEGATIVE_GROUPS, 0.0) | (accused or {})
    return replace(
        TEMPLATE,
        auc_detail={m: {"chosen": {g: area(value) for g, value in row.items()}} for m, row in table.items()},
        auc={m: {"chosen": row} for m, row in table.items()},
        false_accusation=replace(
            TEMPLATE.false_accusation, conformal=rates, architecture_left_out={"B": 0.01}, optimizer_left_out={}
        ),
        power=replace(TEMPLATE.power, conformal=power, by_role={"piracy": power}),
        calibration=CalibrationSizes(models=models, other_victim=others, needed=19),
        decided_by=decided_by,
        verdicts=verdicts(**roles),
        models=ModelCounts(trained=9, reused=0, failed=0),
        failures=(),
    )


def one(found: Answer, beginning: str) -> str:
    """The sentence that begins so."""
    (sentence,) = [text for text in found.sentences if text.startswith(beginning)]
    return sentence


def test_everything_fine() -> None:
    found = answer(synthetic())
    assert found.sentences[0] == (
        "Can this fingerprint be trusted here? Yes against independent models, models stolen from another victim, "
        "independent models trained on the victim's images and models stolen from a sibling of the victim."
    )
    low, high = clopper_pearson(36, 40)
    shown = f"90 % [{percent(low)[:-2]}, {percent(high)[:-2]}]"
    assert f"{shown} of those stolen by hard labels (40 tested)" in one(found, "How many stolen models")
    assert one(found, "Is it the UAP").startswith("Is it the UAP that tells stolen models apart? Yes.")
    assert "0 % [0, 8.8] accused (40 tested, 39 for calibration); AUC 0.99 [0.97, 1.00]" in one(
        found, "Against independent models:"
    )
    assert "(40 tested, none for calibration)" in one(found, "Against models stolen from a sibling")
    assert one(found, "Independent models of an").endswith("up to 1 % accused (architecture B; no interval).")


def test_piracy_of_other_victims_is_accused() -> None:
    """By rates alone, by AUC alone: either is enough not to be trusted."""
    rates = answer(synthetic(accused={"other_victim": 0.5}))
    assert "no against models stolen from another victim." in rates.sentences[0]
    assert "50 % [34, 66] accused, above alpha" in one(rates, "Against models stolen from another victim: no.")
    chance = answer(synthetic(areas={"uap": dict.fromkeys(NEGATIVE_GROUPS, 0.99) | {"other_victim": 0.51}}))
    assert "no against models stolen from another victim." in chance.sentences[0]
    assert "AUC 0.51 [0.49, 0.53], which reaches chance" in one(
        chance, "Against models stolen from another victim: no."
    )
    just = {"uap": dict.fromkeys(NEGATIVE_GROUPS, 0.99) | {"other_victim": 0.53}}
    assert "no against" not in answer(synthetic(areas=just)).sentences[0]


def test_a_better_method_is_named_only_where_it_is_surely_better() -> None:
    better = {"sac": dict.fromkeys(NEGATIVE_GROUPS, 0.995), "churn": {"sibling": 0.9}}
    weak = {"uap": dict.fromkeys(NEGATIVE_GROUPS, 0.99) | {"sibling": 0.5}}
    found = answer(synthetic(areas=weak | {"churn": better["churn"]}))
    assert "largest of 5 methods, picked afterwards: churn 0.90 [0.88, 0.92]" in one(
        found, "Against models stolen from a s"
    )
    assert "picked afterwards" not in " ".join(answer(synthetic(areas=better)).sentences)
    near = {"uap": dict.fromkeys(NEGATIVE_GROUPS, 0.99) | {"sibling": 0.5}, "churn": {"sibling": 0.53}}
    equal = {name: dict.fromkeys(NEGATIVE_GROUPS, 0.5) for name in DEFAULTS}
    assert "picked afterwards" not in " ".join(answer(synthetic(areas=near | equal)).sentences)


@pytest.mark.parametrize(
    ("random", "compared", "verdict"),
    [(0.7, "worse", "Yes"), (0.96, "not told apart", "Not shown"), (0.986, "as good", "No"), (1.0, "as good", "No")],
)
def test_the_uap_is_no_better_than_random(random: float, compared: str, verdict: str) -> None:
    report = synthetic(areas={"random": dict.fromkeys(NEGATIVE_GROUPS, random)})
    assert compare_references(report, "homologous") == {
        "random": compared,
        "clean": "worse",
        "lap": "worse",
    }
    found = answer(report)
    assert one(found, "Is it the UAP").startswith(f"Is it the UAP that tells stolen models apart? {verdict}.")
    said = "Against independent models random vectors do as well as UAPs." in found.sentences[0]
    assert said == (verdict == "No")
    assert ("In the other groups as good: random vectors in 3 of 3." in one(found, "Is it the UAP")) == said
    assert "do as well" not in answer(replace(report, decided_by="random")).sentences[0]


def test_a_reference_that_was_not_compared_is_no_proof() -> None:
    report = synthetic()
    without = {name: row for name, row in report.auc_detail.items() if name != "clean"}
    text = one(answer(replace(report, auc_detail=without)), "Is it the UAP")
    assert "apart? Not shown." in text
    assert "unperturbed images not measured here" in text
    alone = {"uap": report.auc_detail["uap"]}
    text = one(answer(replace(report, auc_detail=alone)), "Is it the UAP")
    assert text.endswith("Random vectors, unperturbed images and local perturbations: not measured here.")


def test_too_few_models_to_decide() -> None:
    """Nothing but AUC is known then: no group is trusted, no share is given."""
    few = synthetic(calibration=(10, 0), power=math.nan)
    few = replace(few, false_accusation=replace(few.false_accusation, conformal={}, architecture_left_out={}))
    found = answer(few)
    assert "Too few models to answer: 10 calibration models, 19 needed" in found.sentences[0]
    assert "cannot decide at this alpha" in found.sentences[0]
    assert one(found, "How many stolen models").endswith("By uap: not measured here.")
    assert one(found, "Independent models of an").endswith("not measured here.")
    assert "accused (" not in " ".join(found.sentences)
    assert {group_trust(few, group).trust for group in NEGATIVE_GROUPS} == {"too few models to tell"}


def test_few_models_of_a_group_show_nothing() -> None:
    """Where calibration has seen the group its models need not show it; above alpha they make doubtful."""
    report = synthetic(tested=4, calibration=(39, 0), power=1.0)
    trust = {group: group_trust(report, group).trust for group in NEGATIVE_GROUPS}
    few = "too few models to tell"
    assert trust == {"homologous": "yes", "other_victim": few, "same_data": few, "sibling": few}
    doubtful = group_trust(synthetic(tested=4, accused={"homologous": 0.06, "sibling": 0.25}), "homologous")
    assert doubtful.trust == "doubtful"
    assert group_trust(synthetic(tested=4, accused={"sibling": 0.25}), "sibling").trust == "doubtful"
    assert group_trust(synthetic(accused={"sibling": 0.05}), "sibling").trust == "yes", "alpha itself is tolerated"


def test_few_models_that_are_all_told_apart_are_no_failure() -> None:
    """Their interval reaches chance because they are few: unknown, not "no"; one pair in the other order is a doubt."""
    made = synthetic(tested=40)
    for mean, low, trust in ((1.0, 0.4, "too few models to tell"), (0.99, 0.4, "no"), (1.0, 0.79, "yes")):
        made.auc_detail["uap"]["chosen"]["homologous"] = Estimate(mean, low, 1.0, mean, 0.0)
        assert group_trust(made, "homologous").trust == trust


def test_models_stolen_from_few_victims_show_little() -> None:
    """Forty models of three victims are three: no interval, so no yes; a no by an AUC at chance, or half accused."""
    unknown = replace(area(0.99), low=math.nan, high=math.nan)
    few: dict[Group, int] = {"other_victim": 3, "sibling": 20}

    def report(mean: float, accused: float) -> EvaluationReport:
        made = synthetic(accused={"other_victim": accused})
        made.auc_detail["uap"]["chosen"]["other_victim"] = replace(unknown, mean=mean)
        return replace(made, victims=few)

    assert group_trust(report(0.99, 0.0), "other_victim").trust == "too few models to tell"
    assert group_trust(report(0.99, 0.4), "other_victim").trust == "doubtful"
    assert group_trust(report(0.99, 0.5), "other_victim").trust == "no"
    assert group_trust(report(0.4, 0.0), "other_victim").trust == "no"
    assert group_trust(report(0.99, 0.0), "sibling").trust == "yes"
    said = one(answer(report(0.4, 0.9)), "Against models stolen from another victim")
    assert "90 % accused, above alpha (40 tested of 3 victims, 39 for calibration); AUC 0.40" in said
    assert "which reaches chance" in said


def test_lineage_rests_on_points_of_probe() -> None:
    """On D_v the UAP is far ahead; on images that nothing trained on unperturbed images are as good: that is said."""
    areas = {"uap_probe": 0.9, "random_probe": 0.7, "clean_probe": 0.9, "lap_paper_probe": 0.6}
    report = synthetic(areas={name: dict.fromkeys(NEGATIVE_GROUPS, at) for name, at in areas.items()})
    found = answer(report)
    said = one(found, "Is it the UAP that tells stolen models apart? No.")
    assert "On images that nothing trained on, against independent models AUC 0.90 [0.88, 0.92] by uap_probe" in said
    assert "unperturbed images 0.90 [0.88, 0.92] (as good)" in said
    assert "unperturbed images do as well as UAPs" in found.sentences[0]
    del report.auc_detail["clean_probe"]
    assert "unperturbed images not measured here" in one(answer(report), "Is it the UAP"), "not those of D_v"


def test_low_power() -> None:
    """Most are missed; so few that it could be chance."""
    assert answer(synthetic(power=0.4)).sentences[0].endswith(" It misses most stolen models.")
    assert "misses" not in answer(synthetic(power=0.5)).sentences[0]
    found = answer(synthetic(power=0.1)).sentences[0]
    assert found == (
        "Can this fingerprint be trusted here? Not shown: it accuses 10 % [2.8, 24] of the stolen models (40) at alpha "
        "0.05, not told apart from accusing at random."
    )


def test_what_was_not_measured_is_said() -> None:
    report = synthetic()
    areas = {
        method: {"chosen": {group: e for group, e in formats["chosen"].items() if group != "sibling"}}
        for method, formats in report.auc_detail.items()
    }
    found = answer(replace(report, auc_detail=areas))
    assert "sibling" not in found.sentences[0]
    assert (
        one(found, "Against models stolen from a sib")
        == "Against models stolen from a sibling of the victim: not measured here."
    )
    assert "of a sibling" not in found.table().columns


def test_models_that_were_modified_or_not_made_are_counted() -> None:
    accused = tuple(replace(v, claim="piracy") for v in verdicts(modified_piracy=3, modified_homologous=1))
    report = synthetic()
    report = replace(report, verdicts=(*report.verdicts, *accused, *verdicts(modified_piracy=1, modified_homologous=8)))
    found = answer(replace(report, models=ModelCounts(trained=9, reused=0, failed=2)))
    assert "3 of 4 stolen models and 1 of 9 independent models" in one(found, "Accused after fine-tuning")
    assert "2 models could not be made" in one(found, "All this")


def test_the_table_has_at_most_eight_methods_the_decider_first() -> None:
    names = ["sac", "confidence", "lap", "ipguard", "agreement", "natural_errors", "weighted_errors", "uap_paper"]
    found = answer(synthetic(areas={name: dict.fromkeys(NEGATIVE_GROUPS, 0.8) for name in names}, decided_by="sac"))
    shown = [row.method for row in found.methods]
    assert len(shown) == MOST == 8
    assert shown[:3] == ["sac", "uap", "uap_paper"]
    assert {"random", "clean"} <= set(shown)
    assert "8 of 11 methods" in found.caption
    assert list(found.table().columns)[:4] == ["method", "independent", "independent_low", "independent_high"]
    assert found.markdown().count("\n| ") == 2 + MOST
    assert "| uap | 0.99 [0.97, 1.00] |" in found.markdown()
    assert "All methods" in answer(synthetic()).caption


def test_markdown_and_terminal_say_the_same() -> None:
    found = answer(TEMPLATE)
    text, markdown = summary(TEMPLATE), found.markdown()
    assert max(map(len, text.split("\n\n")[0].splitlines())) <= WIDTH
    assert text.isascii()
    for sentence in found.sentences:
        assert sentence in " ".join(text.split())
        assert sentence in markdown.replace("**", "")


def test_shares() -> None:
    assert str(AccusedShare(0.0, 0)) == "0 % [0, 100]"
    assert str(AccusedShare(0.929, 4)).startswith("93 % [")
    texts = ["0 %", "0.4 %", "5 %", "50 %", "99.7 %", "100 %", "\N{EN DASH}"]
    assert [percent(x) for x in (0.0, 0.004, 0.05, 0.5, 0.997, 1.0, math.nan)] == texts


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_every_stored_report_has_an_answer(path: Path) -> None:
    """Its numbers are those of the report: the power, and every AUC of the table."""
    report = read_report(json.loads(path.read_text()))
    found = answer(report)
    assert found.sentences[0].startswith("Can this fingerprint be trusted here? ")
    assert percent(report.power.conformal) in one(found, "How many stolen models")
    assert len(found.methods) == min(MOST, len(report.auc_detail))
    for row in found.methods:
        assert row.auc == {g: report.auc_detail[row.method]["chosen"][g] for g in row.auc}
    assert "nan" not in " ".join(found.sentences)
    assert not math.isnan(found.table()["independent"].iloc[0])


def test_the_best_method_against_a_group_is_in_the_table() -> None:
    """However many others there are, and wherever it stands in their order."""
    crowd = {f"m{i}": dict.fromkeys(NEGATIVE_GROUPS, 0.6) for i in range(9)}
    best = {"last": dict.fromkeys(NEGATIVE_GROUPS, 0.6) | {"sibling": 0.995}}
    found = answer(synthetic(areas=crowd | best))
    names = [row.method for row in found.methods]
    assert names[:3] == ["uap", "last", "random"]
    assert len(names) == MOST
    assert "not shown" not in found.caption
    few = answer(synthetic(areas={f"m{i}": dict.fromkeys(NEGATIVE_GROUPS, 0.6) for i in range(5)}))
    assert "(not shown: m4)" in few.caption


def test_local_perturbations_of_the_papers_norm_stand_in() -> None:
    """Where those of the norms of `uap` were not compared; where both were, the latter count."""
    full = synthetic(areas={"lap_paper": dict.fromkeys(NEGATIVE_GROUPS, 1.0)})
    assert compare_references(full, "homologous")["lap"] == "worse"
    report = replace(full, auc_detail={name: row for name, row in full.auc_detail.items() if name != "lap"})
    assert compare_references(report, "homologous")["lap"] == "as good"
    text = one(answer(report), "Is it the UAP")
    assert "apart? No." in text
    assert re.search(r"local perturbations 1\.00 \[[^]]*\] \(as good\)", text)
