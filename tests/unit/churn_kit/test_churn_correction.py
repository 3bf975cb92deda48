"""Verdicts by churn points are corrected for all looks and for all that the kit was enrolled for."""

from dataclasses import replace

import pytest
from churn_kits import one
from kits import answers, make_churn_kit

from uapfp_dist.errors import UserError
from uapfp_dist.response_format import LABEL
from uapfp_dist.verification.judging.calibration import max_suspects
from uapfp_dist.verification.judging.judge import judge
from uapfp_dist.verification.judging.other_looks import OtherLooks
from uapfp_dist.verification.judging.verdict import SuspectResponses


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


def test_answers_that_are_not_sane_give_up_no_share() -> None:
    """They count as p = 1; in older transcripts by their p-value, so that a replay says what it said."""
    kit = make_churn_kit("light", per_group=59)
    assert kit.churn is not None
    agrees = kit.churn.agrees.clone()
    agrees[0, 1] = True  # by the second set p is 2 / 60
    kit = replace(kit, churn=replace(kit.churn, agrees=agrees), info=replace(kit.info, max_suspects=3))
    insane = SuspectResponses("a", answers(kit, 1.0), LABEL, ("negative confidences",), True)
    sane = SuspectResponses("b", answers(kit, 1.0, 1), LABEL, point_set=1)
    now = judge(kit, [insane, sane])
    then = judge(kit, [replace(insane, fatal_is_one=False), sane])
    assert [(v.claim, v.p_value) for v in now] == [("inconclusive", 1 / 60), ("inconclusive", 2 / 60)]
    assert [v.p_adjusted for v in now] == [1.0, pytest.approx(6 / 60)]
    assert [v.p_adjusted for v in then] == pytest.approx([3 / 60, 4 / 60])
    said = "The answers are not sane: no claim of piracy can rest on them"
    assert f"{said}; among the suspects corrected for they count as p = 1." in now[0].limits
    assert f"{said}." in then[0].limits
