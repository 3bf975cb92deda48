"""The plan of an enrolment: which models train, calibrate and test."""

from collections import Counter
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from small_enrollment import small_plan
from system import tiny

from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.response_format import PROBABILITIES
from uapfp_dist.statistics.conformal import needed_for
from uapfp_dist.tasks.hashing import canonical
from uapfp_dist.tasks.method_configs import UapConfig
from uapfp_dist.tasks.specs import AbsoluteGate, DataSpec, Extracted
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.plan import plan_enrollment


@pytest.mark.parametrize(("alpha", "k", "m"), [(0.05, 1, 19), (0.01, 1, 99), (0.05, 3, 59), (0.1, 2, 19)])
def test_groups_are_as_large_as_alpha_and_suspects_require(alpha: float, k: int, m: int, digits: Dataset) -> None:
    requirements = EnrollConfig(alpha=alpha, max_suspects=k, calibration_factor=1)
    assert requirements.n_calibrate == m == needed_for(alpha / k)
    doubled = replace(requirements, calibration_factor=2).n_calibrate
    assert (1 + 1) / (1 + doubled) <= alpha / k < (1 + 1) / doubled  # one negative of a group may score higher
    plan = plan_enrollment(tiny(), requirements, 0, digits)
    counts = Counter((s.group, s.part) for s in plan.reference_models)
    for group in requirements.groups:
        assert counts[group, "held_out"] == m + requirements.n_test
        assert counts[group, "training"] == requirements.n_train
    n_variants = len(requirements.attacks) * len(requirements.labels)
    assert counts["piracy", "training"] == n_variants * requirements.n_train_piracy
    assert counts["piracy", "held_out"] == n_variants * requirements.n_test_piracy


def test_roles_of_models(digits: Dataset) -> None:
    """One other victim per model stolen from it, which is nobody else; same-data models on D_v; every architecture."""
    plan = plan_enrollment(tiny(), EnrollConfig(), 0, digits)
    other_victims, outside = [], []
    for s in plan.reference_models:
        origin = s.member.spec.origin
        if s.group == "other_victim":
            assert isinstance(origin, Extracted)
            other_victims.append(origin.victim.id)
        elif s.group == "sibling":
            assert isinstance(origin, Extracted)
            outside.append(origin.victim)
        elif s.group == "piracy":
            assert isinstance(origin, Extracted)
            assert origin.victim == plan.victim
        else:
            assert getattr(origin, "on", "") == {"homologous": "homologous_set", "same_data": "victim_set"}[s.group]
        assert s.member.spec.gate is not None
        assert s.member.spec.gate.reference == plan.victim
    assert len(set(other_victims)) == len(other_victims)
    assert plan.churn is not None
    assert len(plan.churn.siblings) == plan.requirements.n_committee
    assert set(plan.siblings) == {*plan.churn.siblings, *outside}
    assert len(plan.siblings) == len(plan.churn.siblings) + len(outside), "one sibling each, none of the committee"
    for sibling in plan.siblings:
        assert sibling == replace(plan.victim, seed=sibling.seed, gate=AbsoluteGate(0.5, 3)), (
            "the recipe, field by field"
        )
    for group in ("piracy", *plan.requirements.groups):
        architectures = {s.member.spec.architecture for s in plan.reference_models if s.group == group}
        assert architectures == {"A", "B", "C", "D", "E"}
    ids = [s.member.spec.id for s in plan.reference_models]
    assert len(set(ids)) == len(ids)
    assert not {*ids, plan.victim.id} & set(other_victims)


def test_every_extraction_variant_trains_and_tests_alike(digits: Dataset) -> None:
    """Crossed with the architectures, so that none stands for a variant."""
    plan = plan_enrollment(tiny(), EnrollConfig(), 0, digits)
    stolen = [s for s in plan.reference_models if s.group == "piracy"]
    counts = Counter((s.extraction_variant, s.part) for s in stolen)
    assert set(counts) == set(product(plan.requirements.extraction_variants, ("training", "held_out")))
    assert {counts[variant, "training"] for variant in plan.requirements.extraction_variants} == {
        plan.requirements.n_train_piracy
    }
    assert len({(s.extraction_variant, s.member.spec.architecture) for s in stolen}) > 15
    natural = {s.member.spec.origin.natural_share for s in stolen if s.extraction_variant[0] == "knockoff"}  # type: ignore[union-attr]
    assert natural == {1.0}


def test_groups_left_out_are_not_made(digits: Dataset) -> None:
    """Other victims are still trained where a model is stolen from them."""
    plan = small_plan(digits, groups=("other_victim",))
    assert {s.group for s in plan.reference_models} == {"piracy", "other_victim"}
    assert len(plan.models) == 1 + len(plan.reference_models) + sum(
        s.group == "other_victim" for s in plan.reference_models
    ) + len(plan.siblings)
    assert len(plan.siblings) == plan.requirements.n_committee
    without = small_plan(digits, groups=("homologous", "same_data"), n_committee=0, n_sets=3, n_points=400)
    assert without.churn is None
    assert len(without.models) == 1 + len(without.reference_models)


def test_a_larger_calibration_keeps_the_models_of_the_smaller(digits: Dataset) -> None:
    """Raising max_suspects trains only what is new."""
    smaller, larger = small_plan(digits), small_plan(digits, max_suspects=2)
    assert {spec.id for spec in smaller.models if spec.extraction is None} <= {spec.id for spec in larger.models}


def test_fields_that_came_later_change_no_name() -> None:
    """Artifacts made before them stay valid."""
    assert "references" not in canonical(UapConfig())
    assert "victim_set" not in canonical(DataSpec("d", "0", 0, 0.5, (0.4, 0.3, 0.3)))


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": 0.6}, "alpha"),
        ({"max_suspects": 0}, "max_suspects"),
        ({"groups": ()}, "group"),
        ({"groups": ("homologous", "homologous")}, "once"),
        ({"groups": ("cousins",)}, "cousins.*homologous, other_victim, same_data"),
        ({"attacks": ("gan",)}, "gan.*cloudleak"),
        ({"labels": ()}, "labels"),
        ({"formats": (PROBABILITIES,)}, "formats: expected label among them, .*got probabilities"),
        ({"n_train": 1}, "n_train"),
        ({"n_test": -1}, "n_test"),
        ({"size": "Light"}, "^size: expected full or light, got 'Light'$"),
        ({"exact": "claim", "n_sets": 1}, "^exact: expected none, beside or claims, got 'claim'$"),
    ],
)
def test_impossible_requirements_are_refused(wrong: dict[str, Any], word: str, digits: Dataset) -> None:
    with pytest.raises(UserError, match=word) as caught:
        small_plan(digits, **wrong)
    assert "\n" not in str(caught.value)
