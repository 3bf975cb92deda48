"""Kits with an exact sibling test: statistics against slow loops, which test claims, what is sent, what is refused."""

from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import torch
from exact_kit import copy_of, make_exact_kit
from kits import N_CLASSES, make_churn_kit
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.response_format import LABEL
from uapfp_dist.rng import torch_rng
from uapfp_dist.serialization import json_schema, to_json
from uapfp_dist.verification.judging.judge import judge
from uapfp_dist.verification.judging.verdict import Caught, SuspectResponses, SuspectVerdict
from uapfp_dist.verification.kit.check import problem_of
from uapfp_dist.verification.kit.io import load_kit, save_kit
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.kit.text import kit_text

CLAIMS, BESIDE = make_exact_kit(), make_exact_kit(claims=False)


def verdict(kit: Kit, answers: Tensor, *, exact: bool = True, alpha: float | None = None) -> SuspectVerdict:
    return judge(kit, [SuspectResponses("s", answers, LABEL, exact=exact)], alpha)[0]


def slow_statistics(kit: Kit, answers: Tensor) -> list[float]:
    """By loops, an image without an answer agreeing with nobody."""
    test = kit.exact
    assert test is not None
    found = []
    for i in range(len(test.index)):
        total = 0.0
        for k, image in enumerate(test.index[i].tolist()):
            answered = bool(answers[image].isfinite().all())
            if answered and int(answers[image].argmax()) == int(test.labels[i, k]):
                total += float(test.weights[i, k])
        found.append((total - float(test.centre[i])) / float(test.scale[i]))
    return found


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_statistics_are_those_of_loops(missing: float) -> None:
    rng = torch_rng("exact", missing)
    answers = torch.eye(N_CLASSES)[torch.randint(N_CLASSES, (len(CLAIMS.images),), generator=rng)]
    answers[torch.rand(len(answers), generator=rng) < missing] = torch.nan
    expected = slow_statistics(CLAIMS, answers)
    found = verdict(CLAIMS, answers).exact
    assert found is not None
    assert found.statistics == pytest.approx(expected, abs=1e-8)
    assert found.at_least_as_high == sum(one >= expected[0] - 1e-9 for one in expected[1:])
    assert found.p_value == (1 + found.at_least_as_high) / 20


@pytest.mark.parametrize("player", [0, 1, 7])
def test_whoever_copies_the_victim_is_claimed_and_whoever_copies_a_sibling_is_not(player: int) -> None:
    found = verdict(CLAIMS, copy_of(CLAIMS, player))
    assert (found.claim == "piracy") == (player == 0)
    assert found.decided_by == "sibling_test"
    assert found.exact is not None
    assert found.p_value == found.exact.p_value
    assert found.conformal is not None
    assert found.conformal.method == found.conformal_method == "weighted_churn"
    assert found.power["all"].caught == 3
    assert any("whatever it is" in limit for limit in found.limits)
    jsonschema.validate(to_json(found), json_schema(SuspectVerdict))


def test_its_power_is_shown_only_where_it_was_counted_as_the_verdict_is_corrected() -> None:
    """A kit for two suspects that counted at alpha itself is not known to catch as many, and its text says so."""
    kit = make_exact_kit(39)
    earlier = replace(kit, info=replace(kit.info, max_suspects=2))
    counted = replace(earlier, info=replace(earlier.info, rates_level=0.05 / 2))
    for two, power in ((earlier, {}), (counted, {"all": Caught(3, 4)})):
        found = verdict(two, copy_of(two, 0))
        assert (found.claim, found.p_adjusted) == ("piracy", pytest.approx(2 / 40))
        assert found.power == power
        assert any("held-out stolen models" in limit for limit in found.limits) == bool(power)
        assert any("Rates that the kit itself names below are not" in limit for limit in found.limits) != bool(power)
    assert "at alpha 0.05 (uncorrected; verdicts are corrected for 2 suspects" in kit_text(earlier)
    assert "at alpha 0.05, corrected for 2 suspects, by its labels, the exact sibling test" in kit_text(counted)


def test_the_exact_test_beside_claims_nothing() -> None:
    """The same answers: the claim is that of the conformal test, whatever the exact one says."""
    asked, unasked = (verdict(BESIDE, copy_of(BESIDE, 0), exact=exact) for exact in (True, False))
    assert asked.exact is not None
    assert asked.exact.p_value == 1 / 20
    assert unasked.exact is None
    assert asked == replace(unasked, exact=asked.exact)
    assert asked.decided_by == "weighted_churn"
    assert asked.conformal is None


def test_an_unanswered_exact_test_claims_nothing() -> None:
    assert CLAIMS.exact is not None
    answers = copy_of(CLAIMS, 0)
    answers[CLAIMS.exact.images] = torch.nan
    found = verdict(CLAIMS, answers)
    assert (found.claim, found.p_value, found.exact) == ("inconclusive", 1.0, None)


def test_too_few_siblings_decide_nothing() -> None:
    """At alpha .02 no rank among nineteen siblings is rare enough."""
    assert verdict(CLAIMS, copy_of(CLAIMS, 0), alpha=0.02).claim == "cannot decide at this alpha"


def test_all_images_of_the_test_are_sent_or_none() -> None:
    """A budget that would cut them is refused; they come before churn points."""
    kit = CLAIMS
    assert kit.exact is not None
    assert kit.input_check is not None
    assert kit.churn is not None
    images = set(kit.exact.images.tolist())
    least = len(kit.input_check.first) + len(images) + int(kit.churn.budgets[0])
    sent = kit.required_images(LABEL, least, exact=True)
    assert images <= set(sent.tolist())
    assert len(sent) <= least
    with pytest.raises(UserError, match=f"expected at least {least} images"):
        kit.required_images(LABEL, least - 1, exact=True)
    assert not images & set(kit.required_images(LABEL, None).tolist())


def test_a_kit_without_the_test_cannot_ask_it() -> None:
    with pytest.raises(UserError, match="this one has none"):
        make_churn_kit().required_images(LABEL, None, exact=True)


def test_it_is_saved_and_read(tmp_path: Path) -> None:
    digest = save_kit(CLAIMS, tmp_path / "kit")
    again = load_kit(tmp_path / "kit")
    assert again.digest == digest == CLAIMS.digest
    assert again.info.exact == CLAIMS.info.exact
    assert verdict(again, copy_of(CLAIMS, 0)) == verdict(CLAIMS, copy_of(CLAIMS, 0))
    assert "makes the claim" in kit_text(again)
    assert "the exact sibling test of this kit accuses 3 of 4 stolen ones" in kit_text(again)


def _changed(**changes: object) -> Kit:
    assert CLAIMS.exact is not None
    return replace(CLAIMS, exact=replace(CLAIMS.exact, **changes))  # type: ignore[arg-type]


BROKEN = {
    "another scale": lambda: _changed(scale=torch.zeros(20, dtype=torch.float64)),
    "weights that are no numbers": lambda: _changed(weights=torch.full((20, 6), torch.nan, dtype=torch.float64)),
    "an image that is none": lambda: _changed(index=torch.full((20, 6), 10**6)),
    "a label that is no class": lambda: _changed(labels=torch.full((20, 6), N_CLASSES)),
    "no test where it says there is one": lambda: replace(CLAIMS, exact=None),
    "a test of which it says nothing": lambda: replace(CLAIMS, info=replace(CLAIMS.info, exact=None)),
    "another number of siblings": lambda: replace(
        CLAIMS, info=replace(CLAIMS.info, exact=replace(CLAIMS.info.exact, siblings=18))
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_kit_whose_test_makes_no_sense_is_refused(what: str) -> None:
    assert problem_of(CLAIMS) == ""
    assert problem_of(BROKEN[what]()) != ""
