"""An enrolment with an exact sibling test, and verifications by it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_enrollment import SMALL, failing, run_here, small_plan
from system import copy_store

from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.storage.store import Store
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.tasks.specs import AbsoluteGate, Extracted, Gate, Imported, ModelSpec
from uapfp_dist.verification.enrollment.config import check_enroll_config
from uapfp_dist.verification.enrollment.exact_plan import plan_exact
from uapfp_dist.verification.enrollment.exact_power import exact_power
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.kit.text import kit_text
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.replay import replay
from uapfp_dist.verification.reports.verdict_folder import write_verdict
from uapfp_dist.verification.reports.verdict_text import verdict_text
from uapfp_dist.verification.verify import verify


def stripes(images: np.ndarray) -> list[int]:
    """A suspect that knows nothing of anybody, and gives all labels."""
    return [int(image.sum() * 7) % 10 for image in images]


EXACT = {"exact": "claims", "n_sets": 1, "exact_siblings": 3, "n_exact_stolen": 2, "n_exact_points": 8}


@pytest.fixture(scope="module")
def plan(digits: Dataset) -> EnrollmentPlan:
    return small_plan(digits, **EXACT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exact")


@pytest.fixture(scope="module")
def store(folder: Path) -> Store:
    return Store(str(folder))


@pytest.fixture(scope="module")
def kit(plan: EnrollmentPlan, digits: Dataset, store: Store) -> Kit:
    return run_here(plan, digits, store)


def test_players_are_alike_but_for_their_seeds(plan: EnrollmentPlan) -> None:
    """Recipe, data and gate of every sibling; the thefts from each are those from the victim, field by field."""
    exact = plan.exact
    assert exact is not None
    victim, *siblings = exact.players
    for sibling in siblings:
        assert isinstance(sibling.gate, AbsoluteGate)
        assert replace(sibling, seed=victim.seed, gate=victim.gate) == victim
    training = {m.member.spec.id for m in plan.reference_models if m.part == "training"}
    assert all(theft.id in training for theft in exact.stolen[0])
    for player, thefts in zip(exact.players, exact.stolen, strict=True):
        for theft, proto in zip(thefts, exact.stolen[0], strict=True):
            assert isinstance(theft.origin, Extracted)
            assert isinstance(theft.gate, Gate)
            assert theft.origin.victim == theft.gate.reference == player
            same = replace(theft, seed=proto.seed, gate=proto.gate, origin=replace(theft.origin, victim=victim))
            assert same == proto
    thefts = [theft.id for each in exact.stolen for theft in each]
    assert len(set(thefts)) == len(thefts) == 2 * len(exact.players)


def test_the_kit_holds_the_test(kit: Kit, plan: EnrollmentPlan, digits: Dataset, store: Store) -> None:
    """As many players as asked for, the victim's labels on its own images, and the same kit again from the store."""
    assert kit.exact is not None
    assert kit.info.exact is not None
    assert kit.exact.index.shape == (4, 8)
    assert bool((kit.victim_labels[kit.exact.index[0]] == kit.exact.labels[0]).all())
    assert len(set(kit.info.exact.weights_sha256)) == 3
    assert kit.info.exact.power is not None
    assert kit.info.exact.power.of == 4
    assert kit.info.exact.rotated is not None
    assert kit.info.exact.rotated.of == 4 * 2
    assert kit.info.exact.accused is not None
    assert kit.info.exact.accused.of == sum(
        m.group in ("homologous", "same_data") and m.part == "held_out" for m in plan.reference_models
    )
    claimed = f"claims {kit.info.exact.accused.n} of {kit.info.exact.accused.of} independent models"
    assert any(claimed in limit for limit in kit.info.limits)
    assert "3 siblings, 2 models stolen from each" in kit_text(kit)
    assert any("any sibling could have been the victim" in limit for limit in kit.info.limits)
    assert run_here(plan, digits, store).digest == kit.digest


def test_verifying_asks_it_and_a_replay_says_the_same(kit: Kit, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cases = verify(
        kit,
        [SuspectConfig(at="test_exact_enrollment:stripes", name="stripes", output="label")],
        out,
        QueryConfig(anyway=True),
    )
    verdict = cases[0].verdict
    assert cases[0].begin.exact is True
    assert verdict.decided_by == "sibling_test"
    assert verdict.exact is not None
    assert kit.exact is not None
    assert verdict.exact.answered == len(kit.exact.images)
    assert replay(kit, [next(out.glob("*.transcript.jsonl"))])[0].verdict == verdict
    write_verdict(out, kit, cases)
    assert json.loads((out / "verdict.json").read_text())["suspects"][0]["exact"]["siblings"] == 3
    assert "The exact sibling test: how much more" in (out / "verdict.html").read_text()
    assert "of 3 siblings are as high as the victim" in verdict_text(kit, cases)


def test_beside_it_is_asked_only_when_told(kit: Kit, tmp_path: Path) -> None:
    assert kit.info.exact is not None
    beside = replace(kit, info=replace(kit.info, exact=replace(kit.info.exact, claims=False)))
    suspect = SuspectConfig(at="test_exact_enrollment:stripes", name="stripes", output="label")
    without, asked = (
        verify(beside, [suspect], tmp_path / str(exact), QueryConfig(exact=exact, anyway=True))[0]
        for exact in (False, True)
    )
    assert without.verdict.exact is None
    assert asked.verdict.exact is not None
    assert asked.ledger.queries > without.ledger.queries
    assert "(no claim)" in verdict_text(beside, [asked])


def without(plan: EnrollmentPlan, digits: Dataset, folder: Path, to: Path, lost: Sequence[ModelSpec]) -> Kit:
    """The kit where what these models say to the pool cannot be had; all else is in the store."""
    assert plan.exact is not None
    store = copy_store(folder, to)
    ids = {plan.exact.labels(model).id for model in lost}
    for id_ in ids:
        store.discard("pool_labels", id_)
    return run_here(plan, digits, store, failing(store, lambda spec: spec.id in ids))


def test_a_theft_that_fails_is_left_out_for_all(
    kit: Kit, plan: EnrollmentPlan, digits: Dataset, folder: Path, tmp_path: Path
) -> None:
    assert plan.exact is not None
    fewer = without(plan, digits, folder, tmp_path / "s", [plan.exact.stolen[2][1]])
    assert kit.info.exact is not None
    assert fewer.info.exact is not None
    assert (kit.info.exact.stolen_each, fewer.info.exact.stolen_each) == (2, 1)


def test_a_spare_stands_in_for_a_sibling_and_too_few_are_refused(
    kit: Kit, plan: EnrollmentPlan, digits: Dataset, folder: Path, tmp_path: Path
) -> None:
    assert plan.exact is not None
    players = plan.exact.players
    spared = without(plan, digits, folder, tmp_path / "one", players[1:2])
    assert spared.info.exact is not None
    assert spared.info.exact.siblings == 3
    assert spared.digest != kit.digest
    with pytest.raises(UserError, match="expected the victim and 3 siblings at their gate, 3 of these models"):
        without(plan, digits, folder, tmp_path / "three", players[1:4])


REFUSED = {
    "more sets": ({"n_sets": 2}, "n_sets: expected 1"),
    "no siblings": ({"n_committee": 0, "groups": ("homologous",)}, "expected siblings of the victim"),
    "too few siblings": ({"alpha": 0.05}, "exact_siblings: expected at least 19"),
    "no images": ({"n_exact_points": 1}, "n_exact_points: expected 5 to 10000"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_exact_is_refused(what: str) -> None:
    changes, message = REFUSED[what]
    with pytest.raises(UserError, match=message):
        check_enroll_config(replace(SMALL, **{**EXACT, **changes}))  # type: ignore[arg-type]


def test_siblings_beyond_those_of_the_zoo_are_trained(digits: Dataset, plan: EnrollmentPlan) -> None:
    """The others stay; an owner's files are as many as they are."""
    more = small_plan(digits, **{**EXACT, "exact_siblings": 30}).exact
    assert more is not None
    assert plan.exact is not None
    assert more.players[: len(plan.exact.players)] == plan.exact.players
    assert len({player.id for player in more.players}) == 1 + 30 + 2
    requirements = replace(SMALL, **{**EXACT, "exact_siblings": 30})  # type: ignore[arg-type]
    files = [replace(player, origin=Imported("0" * 64)) for player in more.players[1:6]]
    with pytest.raises(UserError, match=r"exact: expected at least 30 siblings .* this kit has 5"):
        plan_exact(more.players[0], files, plan.reference_models, requirements, plan.config.churn, 0)


def test_scores_are_centred_by_models_that_no_player_had_a_part_in(digits: Dataset) -> None:
    """Training models, so that those held out still measure; too few of them centre nothing."""
    few, enough = (small_plan(digits, **EXACT, n_train=n) for n in (4, 5))
    assert few.exact is not None
    assert few.exact.independent == ()
    assert enough.exact is not None
    training = {
        m.member.spec.id: m.group for m in enough.reference_models if m.part == "training" and m.group != "piracy"
    }
    groups = [training[model.id] for model in enough.exact.independent]
    assert sorted(groups) == ["homologous"] * 5 + ["same_data"] * 5
    assert {enough.exact.labels(model).id for model in enough.exact.independent} <= {s.id for s in enough.exact.specs}


def test_too_many_thefts_in_the_plan(digits: Dataset) -> None:
    with pytest.raises(UserError, match="n_exact_stolen: expected at most 4"):
        small_plan(digits, **{**EXACT, "n_exact_stolen": 9})


def test_a_kit_without_it_is_as_before(digits: Dataset) -> None:
    plan = small_plan(digits)
    assert plan.exact is None
    assert all(isinstance(spec, ModelSpec) or not spec.kind.startswith("pool") for spec in plan.specs)


def test_power_by_images_and_by_what_is_learned(
    kit: Kit, plan: EnrollmentPlan, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the pool has so many images; of the same models."""
    monkeypatch.setattr("uapfp_dist.verification.enrollment.exact_power.EXACT_POINTS", (10, 10_000))
    found = {(one.stolen_each, one.n_points): one for one in exact_power(plan, store)}
    assert found.keys() == {(0, 8), (0, 10), (2, 8), (2, 10)}
    for one in found.values():
        assert (one.siblings, one.power.of) == (3, 4)
        assert one.first is not None
        assert one.first.n <= one.power.n
        assert one.rotated is not None
        assert one.rotated.of == 8
        assert one.accused is not None
        assert one.unlucky is not None
        assert one.unlucky.of == 4
        assert one.accused.n <= 0.2 * one.accused.of or one.unlucky.n
    assert list(exact_power(replace(plan, exact=None), store)) == []
