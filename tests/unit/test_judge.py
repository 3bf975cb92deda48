"""Judging: exact p-values, no more false accusations than promised, nothing said from answers that are not there."""

import math
from dataclasses import replace
from html import escape
from itertools import combinations

import pytest
import torch
from kits import FORMATS, N_CLASSES, N_IMAGES, like, make_test_kit, model_rows, random_responses
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.reporting.model_names import GROUPS
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.rng import numpy_rng, torch_rng
from uapfp_dist.serialization import to_json
from uapfp_dist.statistics.holm import holm
from uapfp_dist.verification.judging.calibration import group_sizes, max_suspects
from uapfp_dist.verification.judging.judge import judge
from uapfp_dist.verification.judging.limits import not_calibrated
from uapfp_dist.verification.judging.verdict import SuspectResponses, SuspectVerdict
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.querying.ledger import Ledger
from uapfp_dist.verification.querying.records import Begin, Judged
from uapfp_dist.verification.replay import JudgedSuspect
from uapfp_dist.verification.reports.verdict_page import verdict_page
from uapfp_dist.verification.reports.verdict_text import not_covered, verdict_text


@pytest.fixture(scope="module")
def kit() -> Kit:
    """Nineteen models in each of three groups."""
    return make_test_kit()


def one(kit: Kit, probabilities: Tensor, fmt: ResponseFormat = PROBABILITIES, **more: object) -> SuspectVerdict:
    """The verdict on a single suspect."""
    return judge(kit, [SuspectResponses("suspect", probabilities, fmt, **more)])[0]  # type: ignore[arg-type]


def slow_p(kit: Kit, probabilities: Tensor, asked: list[int]) -> float:
    """By loops: the log odds of every model on the natural errors among `asked`, counted group by group."""
    errors = [i for i, image in enumerate(kit.natural.tolist()) if image in asked]

    def odds(agrees: list[bool]) -> float:
        return round(sum(float(kit.log_odds_agree[i] if agrees[i] else kit.log_odds_disagree[i]) for i in errors), 9)

    labels = probabilities.argmax(1)[kit.natural] == kit.victim_labels[kit.natural]
    mine = odds(labels.tolist())
    worst = 0.0
    for group in group_sizes(kit):
        rows = [i for i, r in enumerate(kit.info.models) if r.group == group and r.part == "calibration"]
        above = sum(odds(kit.agrees[row].tolist()) >= mine for row in rows)
        worst = max(worst, (1 + above) / (1 + len(rows)))
    return worst


# --- p-values


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 1.0])
def test_p_is_the_largest_over_the_groups_by_a_slow_count(share: float, kit: Kit) -> None:
    answers = like(kit.victim, share, "slow")
    verdict = one(kit, answers)
    assert verdict.p_value == verdict.p_value_weighted_errors == slow_p(kit, answers, list(range(N_IMAGES)))


def test_the_victim_itself_is_found(kit: Kit) -> None:
    """By either method; its similarity is 1 in every view."""
    for method in ("uap", "weighted_errors"):
        verdict = one(make_test_kit(method=method), kit.victim)
        assert (verdict.claim, verdict.p_value, verdict.decided_by) == ("piracy", 1 / 20, method)
        assert verdict.similarity == pytest.approx(1.0)
        assert verdict.similarity_std == pytest.approx(0.0, abs=1e-9)
        assert verdict.agreement_clean == 1.0


@pytest.mark.parametrize("n", [40, pytest.param(150, marks=pytest.mark.slow)])
def test_false_accusations_stay_below_alpha(n: int) -> None:
    """Negatives drawn like the calibration models: at most one in five at alpha .2, whatever the group."""
    accused = 0
    for seed in range(n):
        kit = make_test_kit(per_group=9, alpha=0.2, seed=seed)
        accused += one(kit, random_responses(("innocent", seed))).claim == "piracy"
    assert accused / n <= 0.2 + 2 * math.sqrt(0.2 * 0.8 / n)


@pytest.mark.parametrize("method", ["uap", "weighted_errors"])
def test_the_decision_is_that_of_the_method_fixed_at_enrolment(method: str) -> None:
    """Whatever the other one says."""
    kit = make_test_kit(method=method)
    for seed in range(5):
        verdict = one(kit, like(kit.victim, 0.5, seed))
        assert verdict.p_value == getattr(verdict, f"p_value_{method}")
        assert verdict.decided_by == method


# --- answers that are not there


def test_only_images_answered_count_and_for_the_kits_models_alike(kit: Kit) -> None:
    """p is that of a kit which never had the others."""
    answers = like(kit.victim, 0.7, "part")
    asked = [i for i in range(N_IMAGES) if i % 3]
    part = torch.full_like(answers, torch.nan)
    part[asked] = answers[asked]
    verdict = one(kit, part)
    assert verdict.queries == len(asked)
    assert verdict.p_value_weighted_errors == slow_p(kit, answers, asked)
    clean = [i for i in asked if i < 10]
    same = (answers[clean].argmax(1) == kit.victim_labels[clean]).float().mean()
    assert verdict.agreement_clean == pytest.approx(float(same))


def test_views_that_are_not_whole_do_not_count(kit: Kit) -> None:
    """The similarity is the mean over the whole ones, and so is that of every calibration model."""
    kit = make_test_kit(method="uap")
    answers = like(kit.victim, 0.7, "views")
    image = int(kit.views[PROBABILITIES][1, 2, 0])
    broken = answers.clone()
    broken[image] = torch.nan
    whole = [v for v in range(5) if image not in kit.views[PROBABILITIES][:, v].flatten().tolist()]
    assert 0 < len(whole) < 5
    fewer = replace(
        kit,
        views=kit.views | {PROBABILITIES: kit.views[PROBABILITIES][:, whole]},
        similarity=kit.similarity | {PROBABILITIES: kit.similarity[PROBABILITIES][:, whole]},
    )
    found, expected = one(kit, broken), one(fewer, answers)
    assert (found.similarity, found.p_value_uap) == (expected.similarity, expected.p_value_uap)
    assert found.scores == expected.scores


@pytest.mark.parametrize("method", ["uap", "weighted_errors"])
def test_nothing_answered_accuses_nobody(method: str) -> None:
    kit = make_test_kit(method=method)
    verdict = one(kit, torch.full((N_IMAGES, N_CLASSES), torch.nan))
    assert (verdict.claim, verdict.p_value, verdict.queries) == ("inconclusive", 1.0, 0)
    assert to_json(verdict)["similarity"] is None


def test_insane_responses_never_accuse(kit: Kit) -> None:
    """The numbers stay as they are; the claim does not."""
    sane, insane = one(kit, kit.victim), one(kit, kit.victim, findings=("it says NaN",), fatal=True)
    assert (sane.claim, insane.claim) == ("piracy", "inconclusive")
    assert insane.p_value == sane.p_value
    assert insane.findings == ("it says NaN",)


# --- formats


def test_answers_are_judged_by_what_they_give_away(kit: Kit) -> None:
    """top3 as top2, which the kit knows; top1 as a label; a label is worth the same however it is written."""
    answers = like(kit.victim, 0.6, "format")
    top1, top2, top3, top4 = (ResponseFormat(k) for k in (1, 2, 3, 4))
    formats = (PROBABILITIES, top4, top3, top2, top1, LABEL)
    assert [kit.scored_as(fmt) for fmt in formats] == [PROBABILITIES, top2, top2, top2, LABEL, LABEL]
    by_three, by_two = one(kit, top3.apply(answers), top3), one(kit, top2.apply(answers), top2)
    assert by_three == by_two
    assert one(kit, answers, top1) == one(kit, LABEL.apply(answers), LABEL)


def test_a_kit_without_probabilities_judges_them_by_the_largest(kit: Kit) -> None:
    parts = {
        name: {fmt: value for fmt, value in getattr(kit, name).items() if fmt != PROBABILITIES}
        for name in ("views", "encoders", "similarity")
    }
    decided = {fmt: choice for fmt, choice in kit.info.decided_by.items() if fmt != PROBABILITIES}
    without = replace(kit, **parts, info=replace(kit.info, decided_by=decided))
    assert without.scored_as(PROBABILITIES) == ResponseFormat(2)


# --- several at once


def closed_testing(p: list[float]) -> list[float]:
    """Holm's adjusted p the slow way: the worst Bonferroni p over all sets of hypotheses that hold this one."""
    everyone = range(len(p))
    sets = [s for n in range(1, len(p) + 1) for s in combinations(everyone, n)]
    return [max(min(1.0, len(s) * min(p[j] for j in s)) for s in sets if i in s) for i in everyone]


def test_holm_is_closed_testing_by_bonferroni() -> None:
    rng = numpy_rng("holm")
    for n in range(1, 7):
        for _ in range(20):
            p = [round(float(v), 2) for v in rng.random(n) ** 3]
            assert holm(p) == pytest.approx(closed_testing(p))
    assert holm([]) == []


def test_tests_to_come_count_as_those_that_found_nothing() -> None:
    rng = numpy_rng("holm to come")
    for n in range(4):
        p = [round(float(v), 2) for v in rng.random(n) ** 3]
        for more in range(3):
            assert holm(p, n + more) == holm([*p, *[1.0] * more])[:n]
        assert holm(p, n - 1) == holm(p)


@pytest.mark.parametrize("n", [40, pytest.param(150, marks=pytest.mark.slow)])
def test_family_wise_rate_stays_below_alpha_though_calibration_is_shared(n: int) -> None:
    """Three negatives judged at once by one kit, again and again: any of them accused at most in one case of five."""
    wrong = 0
    for seed in range(n):
        kit = make_test_kit(per_group=14, alpha=0.2, seed=seed)
        suspects = [SuspectResponses(str(i), random_responses((seed, i)), PROBABILITIES) for i in range(3)]
        wrong += any(v.claim == "piracy" for v in judge(kit, suspects))
    assert wrong / n <= 0.2 + 2 * math.sqrt(0.2 * 0.8 / n)


def test_a_batch_claims_no_more_than_holm_allows() -> None:
    """Two copies among 39 calibration models at alpha .05: each alone has p 1/40, together the first needs 2/40."""
    kit = make_test_kit(per_group=39)
    suspects = [SuspectResponses(str(i), kit.victim, PROBABILITIES) for i in range(2)]
    assert max_suspects(kit, 0.05) == 2
    assert [v.p_adjusted for v in judge(kit, suspects)] == [0.05, 0.05]
    assert [v.claim for v in judge(kit, suspects)] == ["piracy", "piracy"]


def test_order_of_suspects_is_of_no_account() -> None:
    kit = make_test_kit(per_group=59)
    suspects = [SuspectResponses(str(i), like(kit.victim, i / 2, i), PROBABILITIES) for i in range(3)]
    forth, back = judge(kit, suspects), judge(kit, suspects[::-1])
    assert forth == back[::-1]


@pytest.mark.parametrize(("per_group", "alpha", "most"), [(19, 0.05, 1), (39, 0.05, 2), (99, 0.01, 1), (98, 0.01, 0)])
def test_a_kit_says_how_many_it_can_decide(per_group: int, alpha: float, most: int) -> None:
    kit = make_test_kit(per_group=per_group, alpha=alpha)
    assert max_suspects(kit, alpha) == most
    suspects = [SuspectResponses(str(i), kit.victim, PROBABILITIES) for i in range(max(most, 1) + 1)]
    with pytest.raises(UserError, match=f"can decide at most {most}") as caught:
        judge(kit, suspects)
    assert "\n" not in str(caught.value)
    claim = judge(kit, suspects[:1])[0].claim
    assert claim == ("piracy" if most else "cannot decide at this alpha")


def test_a_smaller_alpha_than_the_kits_cannot_be_decided(kit: Kit) -> None:
    verdict = judge(kit, [SuspectResponses("a", kit.victim, PROBABILITIES)], alpha=0.01)[0]
    assert verdict.claim == "cannot decide at this alpha"
    for alpha in (0.0, 1.0, -1.0):
        with pytest.raises(UserError, match="alpha"):
            judge(kit, [], alpha)


# --- what stands beside the claim


def test_groups_left_out_are_named() -> None:
    rows = [row for row in model_rows(19) if row.group != "same_data"]
    verdict = one(make_test_kit(models=rows), random_responses("x"))
    assert verdict.not_calibrated_against == ("same_data",)
    assert verdict.calibration == {"homologous": 19, "other_victim": 19}
    assert f"Not calibrated against: {GROUPS['same_data']}." in verdict.limits


def test_groups_of_too_few_models_are_no_groups_left_out() -> None:
    """At an alpha below the kit's: what it was calibrated against is called too small, not missing."""
    rows = [row for row in model_rows(19) if row.group != "same_data"]
    kit = make_test_kit(models=rows)
    verdict = judge(kit, [SuspectResponses("a", kit.victim, PROBABILITIES)], alpha=0.01)[0]
    assert set(verdict.not_calibrated_against) == {"same_data", "homologous", "other_victim"}
    assert f"Not calibrated against: {GROUPS['same_data']}." in verdict.limits
    small = f"{GROUPS['homologous']}, {GROUPS['other_victim']}"
    assert f"Too few models to decide at alpha 0.01: {small}." in verdict.limits
    begin = Begin(kit="", suspect={"name": "a", "output": "probabilities"}, judged=Judged(("a",), 0.01))
    case = JudgedSuspect(verdict, kit.victim, begin, Ledger([]), "")
    facts = not_covered(case)
    assert facts["not calibrated"] == f"against {GROUPS['same_data']}"
    assert facts["too few models"] == f"to decide at alpha 0.01: {small}"
    page = verdict_page(kit, [case])
    assert "too few models" not in page, "beside the limits of the page"
    assert page.count(f"Too few models to decide at alpha 0.01: {escape(small)}") == 1


def test_groups_left_out_are_named_once_in_the_words_for_people() -> None:
    """The kit says it, the verdict repeats the kit's limits: no second line; the text has one of its own."""
    kit = make_test_kit(models=[row for row in model_rows(19) if row.group != "same_data"])
    kit = replace(kit, info=replace(kit.info, limits=(not_calibrated(["same_data"]),)))
    verdict = judge(kit, [SuspectResponses("a", kit.victim, LABEL)])[0]
    begin = Begin(kit="", suspect={"name": "a", "output": "label"}, judged=Judged(("a",), 0.05))
    case = JudgedSuspect(verdict, kit.victim, begin, Ledger([]), "")
    page, text = verdict_page(kit, [case]), verdict_text(kit, [case])
    words = escape(GROUPS["same_data"])
    assert page.count(words) == 1
    assert f"against {GROUPS['same_data']}" in text
    for said in (page, text):
        assert "same_data" not in said
        assert "nnocent" not in said
    assert "format label" in text
    assert "format label" in page
    assert verdict.format == "hard", "as files name it"


def test_the_limits_say_what_no_verdict_can(kit: Kit) -> None:
    """Small rates are not rounded; verifying again under other settings has a line of its own."""
    for alpha, said in ((0.015, " 1.5 % "), (0.05, " 5 % "), (0.2, " 20 % "), (0.0005, " 0.05 % ")):
        limits = judge(kit, [SuspectResponses("a", kit.victim, PROBABILITIES)], alpha)[0].limits
        assert said in limits[1]
        assert sum("are not corrected for" in limit for limit in limits) == 1


def test_power_is_that_of_the_images_answered(kit: Kit) -> None:
    """Held-out stolen models judged on what the suspect answered: on nothing, none is caught."""
    everything = one(kit, kit.victim).power
    nothing = one(kit, torch.full((N_IMAGES, N_CLASSES), torch.nan)).power
    assert everything["all"].of == nothing["all"].of == 6
    assert everything["all"].caught > 0 == nothing["all"].caught
    assert everything.keys() == {"all", "cloudleak:hard"}


def test_the_picture_has_the_scores_of_those_who_decide(kit: Kit) -> None:
    verdict = one(kit, kit.victim)
    assert {group: len(scores) for group, scores in verdict.scores.items()} == {
        **group_sizes(kit),
        "piracy": 6,
    }


def test_the_same_answers_give_the_same_bits(kit: Kit) -> None:
    """However many threads add them up."""
    suspects = [SuspectResponses("a", like(kit.victim, 0.5, fmt), fmt) for fmt in FORMATS]
    before = [to_json(judge(kit, [s])[0]) for s in suspects]
    torch.set_num_threads(2)
    try:
        assert [to_json(judge(kit, [s])[0]) for s in suspects] == before
    finally:
        torch.set_num_threads(1)


def test_judging_leaves_random_state_alone(kit: Kit) -> None:
    before = torch.random.get_rng_state()
    one(kit, kit.victim)
    assert torch.equal(before, torch.random.get_rng_state())


def test_answers_of_another_kit_are_refused(kit: Kit) -> None:
    with pytest.raises(UserError, match="shape"):
        one(kit, torch.rand(N_IMAGES - 1, N_CLASSES, generator=torch_rng("x")))
