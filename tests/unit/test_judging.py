"""What is counted from scores: verdicts by the method that decides, nothing claimed from too few models."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from random_scores import METHODS, SUMMARY, judged_models, report_data, scored_draw

from uapfp_dist.config.schema import VerdictConfig
from uapfp_dist.evaluation.judging import (
    NEGATIVE_GROUPS,
    auc_table,
    claim_rates,
    decision,
    format_columns,
    groups_among,
    left_out_rates,
    model_scores,
    parents_of,
    tpr,
    verdicts,
)
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.fingerprints.resamples import Resample
from uapfp_dist.reporting.report import make_report
from uapfp_dist.reporting.report_schema import TprNegatives
from uapfp_dist.reporting.report_tables import methods_table
from uapfp_dist.reporting.sections.controls import controls
from uapfp_dist.reporting.sections.groups import claim_threshold, groups
from uapfp_dist.reporting.summary import summary
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.rng import numpy_rng
from uapfp_dist.serialization import to_json
from uapfp_dist.statistics.auc import Estimate, auc_over_resamples
from uapfp_dist.statistics.conformal import CANNOT_DECIDE, conformal_p
from uapfp_dist.tasks.members import Role

ENSEMBLE = VerdictConfig(decided_by="uap_ensemble", n_calibrate=19)
NOBODY: dict[str, str] = {}


# --- the method that decides


def test_a_verdict_says_what_every_number_comes_from(digits_plan: Plan) -> None:
    """Score, p-value and claim are the decider's, whose name stands beside them; similarity stays that of `uap`."""
    first = scored_draw(digits_plan, 0)
    scores = {method: model_scores(first.methods[method][0]) for method in METHODS}
    row_of = {m.spec.id: row for row, m in enumerate(digits_plan.judged)}
    found = verdicts(first, judged_models(digits_plan), ENSEMBLE)
    assert len(found) == len(first.resample.test)
    for verdict in found:
        row = row_of[verdict.model]
        assert (verdict.decided_by, verdict.score) == ("uap_ensemble", scores["uap_ensemble"][row])
        assert verdict.similarity == scores["uap"][row] != verdict.score
        calibration = [scores["uap_ensemble"][i] for i in first.resample.calibration]
        assert verdict.p_value == conformal_p(verdict.score, calibration)
    for verdict in verdicts(first, judged_models(digits_plan), replace(ENSEMBLE, decided_by="uap")):
        assert verdict.score == verdict.similarity


def test_controls_and_groups_show_the_method_that_decides(digits_plan: Plan) -> None:
    shown = report_data(digits_plan, ENSEMBLE)
    section = controls(shown)
    table = section.tables["controls"].set_index("group")
    members, by_model = shown.judged.members, {}
    for d in shown.resamples:
        scores = model_scores(d.methods["uap_ensemble"][0])
        for row in d.resample.tested(members, "homologous"):
            by_model.setdefault(row, []).append(scores[row])
    expected = sum(sum(s) / len(s) for s in by_model.values()) / len(by_model)
    assert table.loc["homologous", "score"] == pytest.approx(expected)
    rate = claim_rates(shown.resamples, members, "uap_ensemble", 0.05)["homologous"]
    assert table.loc["homologous", "accused (conformal)"] == rate
    assert "`uap_ensemble`, which decides" in section.text
    drawn = groups(shown)
    assert "`uap_ensemble`, which decides" in drawn.text
    labels = [axis.get_xlabel() for axis in drawn.figures["groups"].axes]
    assert labels == ["score by uap ensemble", "score by weighted errors"]
    assert "By uap_ensemble, which decides" in " ".join(summary(shown.report).split())


def test_the_t_test_treats_as_independent_what_it_takes(digits_plan: Plan) -> None:
    """All fingerprints of a model where there are fewer than twenty."""
    shown = report_data(digits_plan, ENSEMBLE)
    for n_test_views, taken in ((7, 7), (100, 20)):
        config = replace(
            shown.plan.config, fingerprint=replace(shown.plan.config.fingerprint, n_test_views=n_test_views)
        )
        text = controls(replace(shown, plan=replace(shown.plan, config=config))).text
        assert f"it treats the {taken} fingerprints of one model as independent" in text


def test_a_kind_left_out_of_calibration_meets_the_verdicts_own_decision(digits_plan: Plan) -> None:
    """Models stolen from others calibrate there, too, those of that kind left out; the larger p decides."""
    members, scored = digits_plan.judged, scored_draw(digits_plan, 0)
    others = tuple(row for row, m in enumerate(members) if m.role != "homologous")
    strict = replace(scored, resample=replace(scored.resample, calibration_piracy=others))
    scores = model_scores(strict.methods["uap"][0])
    pool = [*strict.resample.calibration, *strict.resample.tested(members, "homologous")]
    tight = replace(scored, resample=replace(scored.resample, calibration_piracy=others[:10]))
    unknown = []
    for draw, parts in ((scored, (pool,)), (strict, (pool, others)), (tight, (pool, others[:10]))):
        found = left_out_rates([draw], members, "uap", 0.1, lambda m: m.spec.architecture)
        for kind, rate in found.items():
            seen = [[scores[row] for row in rows if members[row].spec.architecture != kind] for rows in parts]
            if any(len(group) < 9 <= len(rows) for group, rows in zip(seen, parts, strict=True)):
                assert math.isnan(rate), "a group that decides verdicts decides no more"
                unknown.append(kind)
                continue
            p = [
                max(conformal_p(scores[row], group) for group in seen if len(group) >= 9)
                for row in pool
                if members[row].spec.architecture == kind
            ]
            assert rate == pytest.approx(sum(value <= 0.1 for value in p) / len(p))
    assert unknown


# --- too few models


def test_homologous_models_decide_or_nobody_does() -> None:
    """Ten of them cannot at alpha .05, however many models stolen from other victims calibrate, too (protocol 3.1)."""
    scores = [0.9, *[0.1] * 49]
    few = Resample(0, None, tuple(range(1, 11)), (0,), tuple(range(11, 50)))  # type: ignore[arg-type]
    found = decision(scores, 0, few, 0.05)
    assert found.claim == CANNOT_DECIDE
    assert found.p_value == pytest.approx(1 / 11)
    assert found.not_calibrated_against == ("homologous",)
    enough = replace(few, calibration=tuple(range(1, 20)), calibration_piracy=tuple(range(20, 50)))
    assert decision(scores, 0, enough, 0.05).claim == "piracy"
    alone = replace(enough, calibration_piracy=tuple(range(20, 30)))
    assert decision(scores, 0, alone, 0.05).not_calibrated_against == ("other_victim",)
    level: Mapping[str, list[float]] = {"calibration": [0.1] * 10, "calibration_piracy": [0.1] * 39}
    assert claim_threshold(level, 0.05) is None
    assert claim_threshold({**level, "calibration": [0.2] * 19}, 0.05) == 0.2


def test_verdicts_rates_and_summary_agree_that_nothing_can_be_decided(digits_plan: Plan) -> None:
    """With enough models stolen from others, too few homologous ones."""
    config = replace(ENSEMBLE, n_calibrate=10)
    base = scored_draw(digits_plan, 0, n_calibrate=10)
    others = tuple(i for i, m in enumerate(digits_plan.judged) if m.role != "victim" and i not in base.resample.test)[
        :30
    ]
    draw = replace(base, resample=replace(base.resample, calibration_piracy=others))
    plan = replace(digits_plan, config=replace(digits_plan.config, verdict=config))
    report = make_report(plan, judged_models(plan), [draw], SUMMARY).body
    assert {v.claim for v in report.verdicts} == {CANNOT_DECIDE}
    assert all(v.p_value > 0.05 for v in report.verdicts)
    assert math.isnan(report.power.conformal)
    assert "Too few models to answer: 10 calibration models, 19 needed" in " ".join(summary(report).split())


def test_a_report_says_where_fewer_calibrate_than_asked_for(digits_plan: Plan) -> None:
    """Models that failed are missed in calibration."""
    plan = replace(digits_plan, config=replace(digits_plan.config, verdict=ENSEMBLE))

    def said(n: int) -> list[str]:
        report = make_report(plan, judged_models(plan), [scored_draw(plan, 0, n_calibrate=n)], SUMMARY)
        return [remark for remark in report.body.remarks if "calibrate" in remark]

    assert said(4) == ["4 independent models calibrate where verdict.n_calibrate asks for 19: the others failed"]
    assert said(19) == []


def test_a_rate_of_catching_needs_models_that_may_be_let_through(digits_plan: Plan) -> None:
    """Five homologous test models show nothing at a false positive rate of 5 %, twenty do."""
    members = digits_plan.judged
    few, many = scored_draw(digits_plan, 0), scored_draw(digits_plan, 0, n_calibrate=4)
    assert len(few.resample.tested(members, "homologous")) == 5
    assert len(many.resample.tested(members, "homologous")) == 20
    assert math.isnan(tpr([few], members, "uap", 0.05))
    assert 0 <= tpr([few], members, "uap", 0.2) <= 1
    assert 0 <= tpr([many], members, "uap", 0.05) <= 1
    assert math.isnan(tpr([many], members, "uap", 0.01))
    report = report_data(digits_plan, ENSEMBLE).report
    assert to_json(report)["tpr"]["uap"] == {"0.01": None, "0.05": None}
    assert report.tpr_negatives == TprNegatives(models=5, needed={"0.01": 100, "0.05": 20})


# --- formats


def test_every_format_is_reported(digits_plan: Plan) -> None:
    """Probabilities and labels first, the chosen one last."""
    three, two, five = (ResponseFormat(k) for k in (3, 2, 5))
    assert list(format_columns((PROBABILITIES, three, LABEL)).items()) == [
        ("prob", PROBABILITIES),
        ("hard", LABEL),
        ("top3", three),
        ("chosen", None),
    ]
    assert list(format_columns((five, two))) == ["top5", "top2", "chosen"]
    shown = report_data(digits_plan, replace(ENSEMBLE, formats=(PROBABILITIES, three, LABEL)))
    assert list(shown.report.auc["uap"]) == ["prob", "hard", "top3", "chosen"]
    assert list(shown.report.auc_soft_piracy["uap"]) == ["prob", "hard", "top3", "chosen"]
    assert list(shown.report.auc["weighted_errors"]) == ["hard", "chosen"]
    table = methods_table(shown.resamples, shown.report)
    assert table[table["method"] == "uap"]["format"].to_list() == ["prob", "hard", "top3", "chosen"]


def test_another_format_changes_no_other_number(digits_plan: Plan) -> None:
    """Each has its own bootstrap."""
    formats = (PROBABILITIES, ResponseFormat(3), LABEL)
    draws, members = [scored_draw(digits_plan, 0, formats)], digits_plan.judged
    all_of_them = auc_table(draws, members, formats)
    two = auc_table(draws, members, (PROBABILITIES, LABEL))
    for fmt in ("prob", "hard", "chosen"):
        assert two["uap"][fmt] == all_of_them["uap"][fmt]


def test_modified_models_are_resampled_with_their_parents(digits_plan: Plan) -> None:
    """Twenty prunings of one model tell no more than that model: ids alone would make its interval far too short."""
    rng = np.random.default_rng(0)
    parents = {f"{p}{i}": f"p{p}" for p in range(4) for i in range(20)}
    scores = {0: -1.5, 1: 0.0, 2: 1.0, 3: 2.5}
    positive = {model: scores[int(parent[1:])] for model, parent in parents.items()}
    negative = {f"n{i}": float(x) for i, x in enumerate(rng.normal(0, 1, 300))}
    roots = {f"p{p}": score for p, score in scores.items()}

    def estimate(positives: dict[str, float], parents: Mapping[str, str] = NOBODY) -> Estimate:
        return auc_over_resamples([(positives, negative)], numpy_rng("seed"), parents=parents)

    alone, clustered, copies = estimate(roots), estimate(positive, parents=parents), estimate(positive)
    assert clustered == alone  # bit for bit: copies of a model are that model
    assert copies.high - copies.low < 0.6 * (clustered.high - clustered.low)
    assert estimate(roots, parents=parents) == alone
    single = estimate({m: s for m, s in positive.items() if parents[m] == "p0"}, parents=parents)
    assert math.isnan(single.low)
    assert not math.isnan(single.mean)
    assert parents_of(digits_plan.judged) == {}


def test_groups_are_shown_where_there_are_models(digits_plan: Plan) -> None:
    """Piracy of siblings only where there are siblings; the other three always, as in reports of before."""
    members = digits_plan.judged
    without = [m for m in members if m.role != Role.SIBLING_PIRACY]
    assert list(groups_among(without)) == ["homologous", "other_victim", "same_data"]
    sibling = replace(members[1], role=Role.SIBLING_PIRACY)
    assert groups_among([*without, sibling]) == dict(NEGATIVE_GROUPS)
    assert list(groups_among(without[:1])) == ["homologous", "other_victim", "same_data"]
