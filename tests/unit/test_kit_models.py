"""What a kit is made of where models could not be made: too few are refused before anything is fitted."""

from typing import Any

import pytest
from small_enrollment import small_plan

from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.verification.enrollment import kit_builder
from uapfp_dist.verification.enrollment.kit_builder import make_kit
from uapfp_dist.verification.enrollment.kit_description import _limits
from uapfp_dist.verification.enrollment.kit_rows import kit_rows
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan
from uapfp_dist.verification.enrollment.responses import EnrolledResponses


@pytest.fixture(scope="module")
def plan(digits: Dataset) -> EnrollmentPlan:
    """Of a full kit."""
    return small_plan(digits)


def enrolled(models: dict[str, Any]) -> EnrolledResponses:
    """These alone: nothing else is looked at."""
    nothing: Any = None
    return EnrolledResponses(nothing, nothing, models, 0.9, ())


def test_too_few_models_are_refused_before_scorers_are_fitted(plan: EnrollmentPlan, digits: Dataset) -> None:
    """With what to raise: the number of spare models, or the margin of the gate that they missed."""
    said: list[str] = []
    with pytest.raises(UserError, match=r"1 homologous models .* 0 could .*zoo\.homologous_margin$") as caught:
        make_kit(plan, enrolled({}), digits, ["GateError: accuracy"], said.append)
    assert caught.value.argument == "n_test"
    assert not said
    stolen = small_plan(digits, groups=("other_victim",))
    with pytest.raises(UserError, match=r"1 other_victim models .*zoo\.piracy_margin$"):
        kit_rows(stolen, {}, [])


@pytest.mark.parametrize(("size", "said"), [("full", ["fitting the scorers"]), ("light", [])])
def test_scorers_are_announced_where_some_are_fitted(
    size: str, said: list[str], digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StopError(Exception):
        pass

    def stop(*_: object) -> None:
        raise StopError

    monkeypatch.setattr(kit_builder, "_response_matrix", lambda *_: None)
    for name in ("_fit_scorers", "_kit_images"):
        monkeypatch.setattr(kit_builder, name, stop)
    fewer = {} if size == "full" else {"n_train": 16, "n_train_piracy": 6, "n_test_piracy": 4, "n_test": 2}
    plan, found = small_plan(digits, size=size, **fewer), list[str]()
    models = dict.fromkeys(model.member.spec.id for model in plan.reference_models)
    with pytest.raises(StopError):
        make_kit(plan, enrolled(models), digits, (), found.append)
    assert found == said


def test_a_kit_without_power_says_why(plan: EnrollmentPlan, digits: Dataset) -> None:
    """All held-out stolen models are lost, two of four below their gate; or none was planned."""
    tests = [m.member.spec.id for m in plan.reference_models if (m.group, m.part) == ("piracy", "held_out")]
    made = {m.member.spec.id for m in plan.reference_models} - set(tests)
    limits = _limits(plan, kit_rows(plan, made, []), tests[:2], 1, 1)
    said = "No held-out stolen model could be made (2 of 4 below their gate): how much this kit catches is not known."
    assert said in limits
    some = _limits(plan, kit_rows(plan, {*made, tests[0]}, []), tests[1:], 1, 1)
    assert not any("not known" in limit for limit in some)
    untested = small_plan(digits, n_test_piracy=0)
    made = {m.member.spec.id for m in untested.reference_models}
    assert "No stolen model was held out: how much this kit catches is not known." in _limits(
        untested, kit_rows(untested, made, []), (), 1, 1
    )


def test_a_kit_names_the_groups_left_out_in_the_words_for_people(digits: Dataset) -> None:
    plan = small_plan(digits, groups=("homologous", "sibling"))
    made = {m.member.spec.id for m in plan.reference_models}
    assert (
        "Not calibrated against: independent models trained on the victim's images, models stolen from another victim."
        in _limits(plan, kit_rows(plan, made, []), (), 1, 1)
    )
