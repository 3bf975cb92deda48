"""Kits of churn points: scores against slow loops, disjoint sets, what an author may forge, what is sent."""

import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from forgery import forge, refused, tamper
from kits import BUDGETS, FORMATS, N_CLASSES, SET_POINTS, SETS, answers, make_churn_kit, make_test_kit
from safetensors.torch import load_file, save_file
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.rng import torch_rng
from uapfp_dist.verification.enrollment.kit_description import with_rates
from uapfp_dist.verification.judging.accusation_rates import measure_churn_rates, measure_rates
from uapfp_dist.verification.judging.calibration import max_suspects
from uapfp_dist.verification.judging.judge import judge
from uapfp_dist.verification.judging.other_looks import OtherLooks
from uapfp_dist.verification.judging.verdict import Caught, SuspectResponses, SuspectVerdict
from uapfp_dist.verification.kit.io import TENSORS, load_kit, save_kit
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.kit.text import kit_text

KITS = {size: make_churn_kit(size) for size in ("full", "light")}


@pytest.fixture(params=["full", "light"])
def kit(request: pytest.FixtureRequest) -> Kit:
    """Nineteen models in each of four groups."""
    return KITS[request.param]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The full kit on disk."""
    save_kit(KITS["full"], tmp_path / "kit")
    return tmp_path / "kit"


def one(
    kit: Kit, probabilities: Tensor, point_set: int = 0, n_points: int | None = None, **more: Any
) -> SuspectVerdict:
    """The verdict on a single suspect."""
    suspect = SuspectResponses("s", probabilities, LABEL, point_set=point_set, n_churn_points=n_points)
    return judge(kit, [suspect], **more)[0]


def slow_verdict(kit: Kit, probabilities: Tensor, point_set: int, n_points: int) -> tuple[float, float, int, int]:
    """(score, p, agreed, of) by loops."""
    assert kit.churn is not None
    row = list(BUDGETS).index(n_points)
    counted = [i for i in range(n_points) if bool(probabilities[kit.churn.points[point_set, i]].isfinite().all())]

    def score(agrees: Callable[[int], bool]) -> float:
        if not counted:
            return math.nan
        total = float(kit.churn.intercepts[row, point_set])  # type: ignore[union-attr]
        for i in counted:
            weight = float(kit.churn.weights[row, point_set, i])  # type: ignore[union-attr]
            total += weight / 2 if agrees(i) else -weight / 2
        return round(total, 9)

    def same(i: int) -> bool:
        at = int(kit.churn.points[point_set, i])  # type: ignore[union-attr]
        return int(probabilities[at].argmax()) == int(kit.victim_labels[at])

    own, worst = score(same), 0.0
    for group in ("homologous", "same_data", "other_victim", "sibling"):
        rows = [m for m, r in enumerate(kit.info.models) if (r.group, r.part) == (group, "calibration")]
        others = [score(lambda i, m=m: bool(kit.churn.agrees[m, point_set, i])) for m in rows]  # type: ignore[misc,union-attr]
        worst = max(worst, (1 + sum(not other < own for other in others)) / (1 + len(rows)))
    return own, worst, sum(same(i) for i in counted), len(counted)


# --- scores


@pytest.mark.parametrize("n_points", BUDGETS)
@pytest.mark.parametrize("point_set", range(SETS))
@pytest.mark.parametrize(("share", "missing"), [(0.0, 0.0), (0.4, 0.3), (1.0, 0.0), (0.9, 0.7)])
def test_scores_are_those_of_a_slow_loop(share: float, missing: float, point_set: int, n_points: int, kit: Kit) -> None:
    """By every set and budget, on the points answered alone, whatever the others are."""
    given = answers(kit, share, point_set)
    given[torch.rand(len(given), generator=torch_rng("missing", n_points)) < missing] = torch.nan
    verdict = one(kit, given, point_set, n_points)
    score, p, agreed, of = slow_verdict(kit, given, point_set, n_points)
    assert verdict.churn is not None
    assert verdict.churn.score == pytest.approx(score, abs=2e-9, nan_ok=True)
    assert (verdict.p_value, verdict.churn.agreed, verdict.churn.of) == (p, agreed, of)
    assert verdict.churn.point_set == point_set


def test_nothing_but_its_own_points_counts(kit: Kit) -> None:
    """Answers to other sets, beyond the budget, or to anything else of the kit change neither score nor p."""
    assert kit.churn is not None
    given = answers(kit, 0.6)
    expected = one(kit, given, 1, BUDGETS[0])
    others = torch.ones(len(given), dtype=torch.bool)
    others[kit.churn.points[1, : BUDGETS[0]]] = False
    for value in (0.0, torch.nan):
        changed = given.clone()
        changed[others] = value
        changed[others, 0] += 1.0
        verdict = one(kit, changed, 1, BUDGETS[0])
        assert (verdict.churn, verdict.p_value, verdict.scores) == (expected.churn, expected.p_value, expected.scores)


def test_no_point_answered_accuses_nobody(kit: Kit) -> None:
    assert kit.churn is not None
    given = answers(kit, 1.0)
    given[kit.churn.points[0]] = torch.nan
    verdict = one(kit, given)
    assert (verdict.claim, verdict.p_value) == ("inconclusive", 1.0)
    assert verdict.churn is not None
    assert verdict.churn.of == 0


def test_churn_decides_whatever_the_others_say() -> None:
    """They stand beside it; a light kit has none of them."""
    full, light = KITS["full"], KITS["light"]
    given = answers(full, 0.0)
    given[full.natural] = full.victim[full.natural]
    verdict = one(full, given)
    assert (verdict.decided_by, verdict.claim) == ("weighted_churn", "inconclusive")
    assert verdict.p_value_weighted_errors == 1 / 20
    assert one(full, answers(full, 1.0)).claim == "piracy"
    bare = one(light, answers(light, 1.0))
    assert (bare.decided_by, bare.claim) == ("churn", "piracy")
    for value in (bare.p_value_uap, bare.p_value_weighted_errors, bare.p_value_t_test, bare.similarity):
        assert math.isnan(value)


def test_sibling_piracy_counts_among_the_groups() -> None:
    """One model stolen from a sibling that scores as high takes the claim away."""
    kit = KITS["full"]
    assert kit.churn is not None
    row = next(i for i, r in enumerate(kit.info.models) if r.group == "sibling")
    agrees = kit.churn.agrees.clone()
    agrees[row] = True
    verdict = one(replace(kit, churn=replace(kit.churn, agrees=agrees)), answers(kit, 1.0))
    assert (verdict.claim, verdict.p_value) == ("inconclusive", 2 / 20)
    assert verdict.calibration["sibling"] == 19
    without = tuple(replace(r, group="homologous") if r.group == "sibling" else r for r in kit.info.models)
    found = one(replace(kit, info=replace(kit.info, models=without)), answers(kit, 1.0))
    assert "sibling" in found.not_calibrated_against
    assert "sibling" not in one(make_test_kit(), make_test_kit().victim).not_calibrated_against


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


# --- several looks


def test_holm_runs_over_all_looks() -> None:
    """A claim that stands alone does not stand among more looks; one that a register knows of counts with p = 1."""
    kit = make_churn_kit("light", per_group=59)
    given = answers(kit, 1.0)
    looks = OtherLooks((1.0, 1 / 60), "a" * 64)
    alone, among = one(kit, given), one(kit, given, looks=looks)
    assert (alone.claim, alone.p_adjusted) == ("piracy", 1 / 60)
    assert (among.claim, among.p_adjusted) == ("piracy", pytest.approx(3 / 60))
    assert among.register is not None
    assert (among.register.looks, among.register.head) == (3, "a" * 64)
    assert any("enrolled for are corrected for" in limit for limit in among.limits)
    one_more = kit.churn and replace(kit.churn, agrees=kit.churn.agrees.clone())
    assert one_more is not None
    one_more.agrees[0] = True  # p is 2 / 60 now
    weaker = replace(kit, churn=one_more)
    assert one(weaker, given).claim == "piracy"
    assert one(weaker, given, looks=looks).claim == "inconclusive"
    assert one(kit, given, looks=OtherLooks((1.0,) * 3, "a" * 64)).claim == "cannot decide at this alpha"


def test_the_first_look_is_corrected_for_all_that_may_come() -> None:
    """Whoever is asked about first is judged as strictly as the last: looks one after another share one error rate."""
    kit = make_churn_kit("light", per_group=59)
    three = replace(kit, info=replace(kit.info, max_suspects=3))
    given, first = answers(kit, 1.0), OtherLooks((), "a" * 64)
    assert one(kit, given, looks=first).p_adjusted == 1 / 60
    assert one(three, given, looks=first).p_adjusted == pytest.approx(3 / 60)
    assert one(three, given, looks=OtherLooks((1.0,), "a" * 64)).p_adjusted == pytest.approx(3 / 60)


def test_whoever_has_no_register_claims_no_more() -> None:
    """As in a replay elsewhere: p is corrected for all that the kit was enrolled for, and the verdict says so."""
    kit = make_churn_kit("light", per_group=99)
    assert kit.churn is not None
    agrees = kit.churn.agrees.clone()
    agrees[0] = True  # p is 2 / 100: alone a claim, not among five
    five = replace(kit, info=replace(kit.info, max_suspects=5), churn=replace(kit.churn, agrees=agrees))
    with_register, without = (one(five, answers(kit, 1.0), looks=looks) for looks in (OtherLooks((), "a" * 64), None))
    assert (with_register.claim, with_register.p_adjusted) == ("inconclusive", pytest.approx(10 / 100))
    assert (without.claim, without.p_adjusted) == (with_register.claim, with_register.p_adjusted)
    assert any(limit.startswith("Beyond 5 suspects, verdicts of other runs are not") for limit in without.limits)
    assert without.register is None


def test_where_nothing_could_ever_be_claimed_the_verdict_says_so() -> None:
    """Whoever enrolled for five cannot decide the first at an alpha at which p, five times, is always larger."""
    kit = make_churn_kit("light", per_group=99)
    five = replace(kit, info=replace(kit.info, max_suspects=5))
    given = answers(kit, 1.0)
    assert [max_suspects(five, alpha) for alpha in (0.05, 0.04, 0.2)] == [5, 0, 5]
    assert (one(five, given).claim, one(five, given).p_adjusted) == ("piracy", pytest.approx(5 / 100))
    for looks in (None, OtherLooks((), "a" * 64), OtherLooks((1.0,), "a" * 64)):
        assert one(five, given, alpha=0.04, looks=looks).claim == "cannot decide at this alpha"
    with pytest.raises(UserError, match=r"at most 0 at once at alpha 0.04, got 2; judge fewer, or allow a larger"):
        judge(five, [SuspectResponses(name, given, LABEL) for name in "ab"], 0.04)


def test_three_suspects_by_three_sets_share_one_error_rate() -> None:
    kit = make_churn_kit("light", per_group=59)
    suspects = [
        SuspectResponses(str(s), answers(kit, share, s), LABEL, point_set=s) for s, share in enumerate((1.0, 0.2, 1.0))
    ]
    verdicts = judge(kit, suspects)
    assert [v.claim for v in verdicts] == ["piracy", "inconclusive", "piracy"]
    assert [v.churn and v.churn.point_set for v in verdicts] == [0, 1, 2]
    assert verdicts[0].p_adjusted == pytest.approx(3 / 60)
    with pytest.raises(UserError, match="at most 3 at once"):
        judge(kit, [*suspects, suspects[0]])


# --- what is sent


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_no_more_is_sent_than_allowed_and_evidence_first(fmt: ResponseFormat, kit: Kit) -> None:
    assert kit.churn is not None
    assert kit.input_check is not None
    first = kit.input_check.first.tolist()
    for point_set in range(SETS):
        points = kit.churn.points[point_set].tolist()
        everything = kit.required_images(fmt, None, point_set).tolist()
        assert everything[: len(first) + SET_POINTS] == [*first, *points]
        for budget in range(len(first) + BUDGETS[0], len(kit.images) + 1):
            sent = kit.required_images(fmt, budget, point_set).tolist()
            n = max(b for b in BUDGETS if b <= budget - len(first))
            assert len(sent) == len(set(sent)) <= budget
            assert sent[: len(first) + n] == [*first, *points[:n]]
            assert kit.n_churn_points(budget) == n
            assert set(sent) <= set(everything)
    with pytest.raises(UserError, match=f"max_queries: expected at least {len(first) + BUDGETS[0]} images"):
        kit.required_images(fmt, len(first) + BUDGETS[0] - 1)


def test_no_set_is_spent_by_another(kit: Kit) -> None:
    """Not even by errors of the victim that stand in another set: what is sent with one shows nothing of the others."""
    assert kit.churn is not None
    if len(kit.natural):
        kit = replace(kit, natural=torch.cat([kit.natural[:-2], kit.churn.points[1:, 0]]))
    for point_set in range(SETS):
        sent = set(kit.required_images(LABEL, None, point_set).tolist())
        others = kit.churn.points[[s for s in range(SETS) if s != point_set]]
        assert not sent & set(others.flatten().tolist())
        assert sent >= set(kit.churn.points[point_set].tolist())


# --- on disk


def test_a_kit_comes_back_as_it_was(kit: Kit, tmp_path: Path) -> None:
    assert save_kit(kit, tmp_path / "kit") == kit.digest
    again = load_kit(tmp_path / "kit", kit.digest)
    assert again.churn is not None
    assert kit.churn is not None
    for field in fields(kit.churn):
        mine, theirs = getattr(kit.churn, field.name), getattr(again.churn, field.name)
        assert torch.equal(mine, theirs)
        assert mine.dtype == theirs.dtype
    assert again.info == kit.info
    suspects = [SuspectResponses("a", answers(kit, 0.7), PROBABILITIES, point_set=2, n_churn_points=BUDGETS[1])]
    assert repr(judge(kit, suspects)) == repr(judge(again, suspects))


@pytest.mark.parametrize("checked", [False, True])
def test_kits_of_earlier_versions_are_written_and_read_as_before(checked: bool, tmp_path: Path) -> None:
    base = make_test_kit()
    kit = replace(base, input_check=KITS["full"].input_check) if checked else base
    if checked:  # of as many models as the older kit has
        check = kit.input_check
        assert check is not None
        kit = replace(kit, input_check=replace(check, agrees=check.agrees[: len(base.info.models)].contiguous()))
    save_kit(kit, tmp_path / "kit")
    assert f'"version":{2 if checked else 1}' in (tmp_path / "kit" / "kit.json").read_text()
    assert not [name for name in load_file(tmp_path / "kit" / TENSORS) if name.startswith("churn")]
    assert load_kit(tmp_path / "kit").churn is None


def test_any_part_changed_has_another_digest(kit: Kit, tmp_path: Path) -> None:
    assert kit.churn is not None
    digests = {kit.digest}
    for i, field in enumerate(fields(kit.churn)):
        value = getattr(kit.churn, field.name)
        changed = ~value if value.dtype == torch.bool else value + 1
        digests.add(save_kit(replace(kit, churn=replace(kit.churn, **{field.name: changed})), tmp_path / str(i)))
    assert len(digests) == 1 + len(fields(kit.churn))


def set_to(at: tuple[int, ...], value: float) -> Callable[[Tensor], Tensor]:
    """One element changed."""

    def change(tensor: Tensor) -> Tensor:
        tensor[at] = value
        return tensor

    return change


def without(name: str) -> Callable[[Path], None]:
    """One tensor left out."""

    def apply(folder: Path) -> None:
        tensors = load_file(folder / TENSORS)
        del tensors[name]
        save_file(tensors, folder / TENSORS)
        forge(folder)

    return apply


def said(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """What the index says of the kit changed."""
    return lambda folder: forge(folder, lambda body: change(body["info"]) and None)


def of_method(method: str) -> Callable[[Path], None]:
    """Another method decides in one format."""
    return said(lambda info: info["decided_by"]["hard"].update(method=method))


SPOILT: dict[str, tuple[Callable[[Path], None], str]] = {
    **{f"without {name}": (without(f"churn_{name}"), name) for name in ("points", "budgets", "weights", "intercepts")},
    **{f"without {name}": (without(f"churn_{name}"), name) for name in ("committee", "agrees")},
    "sets overlap": (tamper("churn_points", lambda t: t[:1].repeat(SETS, 1)), "overlap"),
    "a point twice": (tamper("churn_points", lambda t: set_to((0, 0), int(t[0, 1]))(t)), "overlap"),
    "a point outside": (tamper("churn_points", set_to((0, 0), 10**6)), "outside the images"),
    "a point before": (tamper("churn_points", set_to((0, 0), -1)), "outside the images"),
    "points in a row": (tamper("churn_points", lambda t: t.flatten()), "do not fit"),
    "no points": (tamper("churn_points", lambda t: t[:, :0]), "do not fit"),
    "no sets": (tamper("churn_points", lambda t: t[:0]), "do not fit"),
    "points of another type": (tamper("churn_points", lambda t: t.int()), "churn_points"),
    "budgets descend": (tamper("churn_budgets", lambda t: t.flip(0)), "numbers of churn points"),
    "budgets repeat": (tamper("churn_budgets", set_to((0,), BUDGETS[1])), "numbers of churn points"),
    "a budget of nothing": (tamper("churn_budgets", set_to((0,), 0)), "numbers of churn points"),
    "a budget of too much": (tamper("churn_budgets", set_to((2,), 99)), "numbers of churn points"),
    "not all are sent": (tamper("churn_budgets", set_to((2,), 11)), "numbers of churn points"),
    "no budgets": (tamper("churn_budgets", lambda t: t[:0]), "do not fit"),
    "one number as budgets": (tamper("churn_budgets", lambda t: t[0]), "do not fit"),
    "weights that are no numbers": (tamper("churn_weights", set_to((0, 0, 0), math.nan)), "not finite"),
    "endless weights": (tamper("churn_weights", set_to((0, 0, 0), math.inf)), "not finite"),
    "weights beyond": (tamper("churn_weights", set_to((0, 0, 11), 1.0)), "not sent"),
    "weights of a set fewer": (tamper("churn_weights", lambda t: t[:, 1:]), "churn_weights"),
    "weights of another type": (tamper("churn_weights", lambda t: t.float()), "churn_weights"),
    "intercepts that are no numbers": (tamper("churn_intercepts", set_to((0, 0), math.nan)), "not finite"),
    "intercepts fewer": (tamper("churn_intercepts", lambda t: t[1:]), "churn_intercepts"),
    "labels above": (tamper("churn_committee", set_to((0, 0, 0), N_CLASSES)), "no class"),
    "labels below": (tamper("churn_committee", set_to((0, 0, 0), -1)), "no class"),
    "a sibling fewer": (tamper("churn_committee", lambda t: t[..., 1:]), "siblings"),
    "no siblings": (tamper("churn_committee", lambda t: t[..., :0]), "siblings"),
    "a committee in a row": (tamper("churn_committee", lambda t: t.flatten()), "do not fit"),
    "nobody departs": (tamper("churn_committee", lambda t: t[..., :1].repeat(1, 1, t.shape[2])), "departs"),
    "agreements of a model fewer": (tamper("churn_agrees", lambda t: t[1:]), "churn_agrees"),
    "agreements as numbers": (tamper("churn_agrees", lambda t: t.long()), "churn_agrees"),
    "errors decide": (of_method("weighted_errors"), "method that decides"),
    "the uap decides": (of_method("uap"), "method that decides"),
    "what is not learnt decides": (of_method("churn"), "method that decides"),
    "no method that is known": (of_method("magic"), "decided_by"),
    "nothing said of churn": (said(lambda info: info.pop("churn")), "churn"),
    "siblings miscounted": (said(lambda info: info["churn"].update(siblings=4)), "siblings"),
    "siblings as text": (said(lambda info: info["churn"].update(siblings="many")), "siblings"),
    "siblings unsaid": (said(lambda info: info["churn"].pop("siblings")), "siblings"),
    "a gate as text": (said(lambda info: info["churn"].update(gate="open")), "gate"),
    "something strange": (said(lambda info: info["churn"].update(strange=1)), "'strange' is unknown"),
    "rates of no set": (said(lambda info: info["churn"]["rates"][0].update(point_set=SETS)), "rates of a set"),
    "rates of no budget": (said(lambda info: info["churn"]["rates"][0].update(n_points=5)), "rates of a set"),
    "rates that move a terminal": (
        said(lambda info: info["churn"]["rates"][0].update(power={"\x1b[2J": [1, 2]})),
        "cannot be printed",
    ),
    "version 2": (lambda folder: forge(folder, lambda body: body.update(version=2)), "none of a kit's"),
    "without an input check": (without("input_check"), "input_check"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_parts_that_do_not_fit_are_refused(name: str, folder: Path) -> None:
    """A digest says who wrote it, not that it makes sense."""
    spoil, word = SPOILT[name]
    spoil(folder)
    refused(folder, word)


def test_a_light_kit_takes_no_learnt_method(tmp_path: Path) -> None:
    save_kit(KITS["light"], tmp_path / "kit")
    of_method("weighted_churn")(tmp_path / "kit")
    refused(tmp_path / "kit", "method that decides")


def test_a_kit_without_churn_takes_no_method_of_it(tmp_path: Path) -> None:
    save_kit(make_test_kit(), tmp_path / "kit")
    of_method("weighted_churn")(tmp_path / "kit")
    refused(tmp_path / "kit", "method that decides")
