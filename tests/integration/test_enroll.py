"""Enrolment: the kit holds what was really queried, whatever fails."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_enrollment import SMALL, failing, quiet, run_here, small_config, small_plan
from system import context_on

from uapfp_dist.config.removal import RemovalConfig
from uapfp_dist.config.schema import ControlConfig, ModificationConfig
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.cost import cost_of
from uapfp_dist.execution.probe_artifacts import read_probe
from uapfp_dist.fingerprints.blocks import CLEAN, NATURAL
from uapfp_dist.fingerprints.querying import query_images
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.pixels import as_float, to_8_bits
from uapfp_dist.response_format import PROBABILITIES
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.members import Role
from uapfp_dist.verification.enrollment.enroll import enroll_locally
from uapfp_dist.verification.enrollment.kit_builder import make_kit
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan, plan_enrollment
from uapfp_dist.verification.enrollment.responses import read_enrolled
from uapfp_dist.verification.judging.judge import judge
from uapfp_dist.verification.judging.verdict import SuspectResponses
from uapfp_dist.verification.kit.io import load_kit, save_kit
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.robustness.members import Counts, modified_suspects

KINDS = ("model", "probe", "answers", "churn", "churn_answers")
"""Of artifacts."""


@pytest.fixture(scope="module")
def plan(digits: Dataset) -> EnrollmentPlan:
    """Twenty models."""
    return small_plan(digits)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Where they lie once they are made."""
    return Store(str(tmp_path_factory.mktemp("enroll")))


@pytest.fixture(scope="module")
def kit(plan: EnrollmentPlan, digits: Dataset, store: Store) -> Kit:
    """The kit of `plan`."""
    return run_here(plan, digits, store)


def test_every_model_was_queried_with_the_very_images_of_the_kit(plan: EnrollmentPlan, kit: Kit, store: Store) -> None:
    """Queried anew, from their 8 bits, each calibration model scores in its own row what the kit says."""
    context, images = context_on(store), as_float(kit.images)
    assert torch.equal(to_8_bits(images), kit.images)
    by_id = {s.member.spec.id: s.member.spec for s in plan.reference_models}
    for row, model in enumerate(kit.info.models):
        responses = predict_probabilities(context.net(by_id[model.model]), images)
        verdict = judge(kit, [SuspectResponses("again", responses, PROBABILITIES)])[0]
        assert verdict.similarity == pytest.approx(float(kit.similarity[PROBABILITIES][row].mean()), abs=1e-5)
        agrees = responses.argmax(1)[kit.natural] == kit.victim_labels[kit.natural]
        assert torch.equal(agrees, kit.agrees[row])


def test_the_victim_is_found_and_the_kit_is_whole(plan: EnrollmentPlan, kit: Kit, store: Store) -> None:
    """Images once each; the victim's responses; parts disjoint; rates on models of neither part."""
    responses = predict_probabilities(context_on(store).net(plan.victim), as_float(kit.images))
    assert kit.churn is not None
    others = torch.ones(len(kit.images), dtype=torch.bool)
    others[kit.churn.points.flatten()] = False
    assert torch.allclose(responses[others], kit.victim[others], atol=1e-6)
    assert torch.equal(responses.argmax(1), kit.victim_labels), "of churn points the labels are known"
    assert len(kit.images.unique(dim=0)) == len(kit.images)
    verdict = judge(kit, [SuspectResponses("victim", responses, PROBABILITIES)])[0]
    assert verdict.similarity == pytest.approx(1.0, abs=1e-6)
    parts = Counter((model.group, model.part) for model in kit.info.models)
    assert parts == {("piracy", "test"): 4} | {
        (group, part): 1 for group in plan.requirements.groups for part in ("calibration", "test")
    }
    held_out = {s.member.spec.id for s in plan.reference_models if s.part == "held_out"}
    assert {model.model for model in kit.info.models} == held_out
    for fmt in plan.requirements.formats:
        for method in ("uap", "weighted_errors", "weighted_churn"):
            assert kit.info.power[fmt][method]["all"].of == 4
            assert kit.info.false_accusations[fmt][method]["all"].of == len(plan.requirements.groups)
        choice = kit.info.decided_by[fmt]
        assert choice.training is not None
        assert choice.method == "weighted_churn"


def test_clean_images_are_the_owners_training_images(plan: EnrollmentPlan, kit: Kit, store: Store) -> None:
    dataset, splits = context_on(store).data(plan.victim.data)
    own = {image.numpy().tobytes() for image in dataset.images[splits.d_v]}
    assert all(kit.images[i].numpy().tobytes() in own for i in kit.clean)
    natural = {image.numpy().tobytes() for image in dataset.images[splits.probe]}
    assert all(kit.images[i].numpy().tobytes() in natural for i in kit.natural)


def test_whatever_is_sent_has_8_bits(plan: EnrollmentPlan, kit: Kit, store: Store) -> None:
    probe = read_probe(store.get("probe", plan.probe.id))
    assert {key.wire for key in probe.blocks} == {"uap_paper", "uap@0.5", "uap@0.7"}
    for name in (CLEAN, NATURAL, *probe.blocks):
        images = query_images(probe, name)
        assert torch.equal(as_float(to_8_bits(images)), images)


def test_the_same_models_give_the_same_kit(plan: EnrollmentPlan, kit: Kit, digits: Dataset, store: Store) -> None:
    """A second run trains nothing and commits to the same digest."""
    assert run_here(plan, digits, store, failing(store)).digest == kit.digest


def test_one_call_from_python_makes_the_kit(
    plan: EnrollmentPlan, kit: Kit, store: Store, digits: Dataset, tmp_path: Path
) -> None:
    """What the job makes without Ray, of artifacts that are there; images at hand go by no name."""
    threads = torch.get_num_threads()
    assert enroll_locally(small_config(), SMALL, store=store.url, progress=quiet()).digest == kit.digest
    assert torch.get_num_threads() == threads
    private = enroll_locally(small_config(), SMALL, store=store.url, seed_is_private=True, progress=quiet())
    assert (kit.info.seed, private.info.seed) == (0, None)
    assert torch.equal(private.images, kit.images)
    mine = replace(digits, name="mine")
    found = enroll_locally(small_config(), SMALL, 1, store=tmp_path / "s", dataset=mine, progress=quiet())
    assert found.info.data.name == "mine"
    assert (found.class_names, found.images.dtype) == (digits.class_names, torch.uint8)
    assert load_kit(tmp_path / "kit", save_kit(found, tmp_path / "kit")).digest == found.digest
    with pytest.raises(UserError, match="unknown preset"):
        enroll_locally("enormous")


def test_names_of_classes_that_no_kit_may_hold_are_refused_first(digits: Dataset) -> None:
    odd = replace(digits, class_names=("\x1b[2J", *digits.class_names[1:]))
    with pytest.raises(UserError, match=r"names of classes.*\\x1b") as caught:
        plan_enrollment(small_config(), SMALL, 0, odd)
    assert str(caught.value).isprintable()


def test_scorers_look_at_training_models_only(plan: EnrollmentPlan, kit: Kit, digits: Dataset, store: Store) -> None:
    """With other held-out responses the encoders and weights stay as they are."""
    copy = Store(str(Path(store.url).parent / "copy"))
    for kind in KINDS:
        for path in (Path(store.url) / kind).iterdir():
            found = store.get(kind, path.stem)
            copy.put(kind, path.stem, found.tensors, found.info)
    for model in plan.reference_models:
        if model.part == "held_out":
            key = plan.response(model).id
            found = copy.get("answers", key)
            copy.put("answers", key, {name: t.flip(1) for name, t in found.tensors.items()}, found.info)
    other = make_kit(plan, read_enrolled(plan, copy), digits)
    assert torch.equal(other.images, kit.images)
    assert torch.equal(other.log_odds_agree, kit.log_odds_agree)
    assert all(torch.equal(t, other.encoders[f][n]) for f, e in kit.encoders.items() for n, t in e.items())
    assert other.info.decided_by == kit.info.decided_by
    assert not torch.equal(other.agrees, kit.agrees)


def test_a_model_that_fails_is_replaced_by_a_spare_one(
    plan: EnrollmentPlan, kit: Kit, digits: Dataset, store: Store, tmp_path: Path
) -> None:
    """The spare one was going to test; without it the kit is refused, and why is said."""
    group = [s for s in plan.reference_models if s.group == "same_data" and s.part == "held_out"]

    def without(lost: Sequence[Any], folder: str) -> Kit:
        copy = Store(str(tmp_path / folder))
        gone = {plan.response(s).id for s in lost}
        for kind in KINDS:
            for path in (Path(store.url) / kind).iterdir():
                found = store.get(kind, path.stem)
                if path.stem not in gone:
                    copy.put(kind, path.stem, found.tensors, found.info)
        return run_here(plan, digits, copy, failing(copy))

    spared = without(group[:1], "one")
    parts = Counter((m.group, m.part) for m in spared.info.models)
    assert (parts["same_data", "calibration"], parts["same_data", "test"]) == (1, 0)
    with pytest.raises(UserError, match=r"1 same_data models to calibrate with, 0 could be made \(.*broken"):
        without(group, "both")


def test_costs_are_reported_before_and_after(plan: EnrollmentPlan, kit: Kit, store: Store, tmp_path: Path) -> None:
    """Nothing is left to do here; everything elsewhere, measured by a few steps."""
    done = cost_of(plan.specs, plan.siblings, context_on(store))
    assert (done.models, done.stored, done.seconds) == (0, len(plan.models), 0.0)
    assert kit.info.costs.models == len(plan.models)
    todo = cost_of(plan.specs, plan.siblings, context_on(Store(str(tmp_path / "empty"))))
    assert todo.models == len(plan.models)
    assert 0.1 < todo.seconds / (kit.info.costs.model_seconds + 0.1) < 100
    assert f"to make: {len(plan.models)} models" in todo.summary(2)


def test_held_out_models_are_modified_to_see_what_a_kit_bears(plan: EnrollmentPlan, kit: Kit, digits: Dataset) -> None:
    """Each as it is, and in every way of the configuration; the victim too, and none that the kit was made of."""
    modifications, removal = ModificationConfig(fine_tune=("all",), prune=(0.4,)), RemovalConfig(2, 1, compose=False)
    config = replace(small_config(), modifications=modifications, controls=ControlConfig(), removal=removal)
    counts = Counts(n_stolen=2, n_negatives=1, n_adversarial=0)
    found = modified_suspects(counts, config, plan, kit)
    held_out = {row.model for row in kit.info.models if row.part == "test"}
    whole = [member for member in found if not member.spec.modifications]
    relabelled = [member for member in whole if member.role.startswith("relabelled")]
    assert {member.spec.id for member in whole if member not in relabelled} <= held_out
    assert not held_out & {member.spec.id for member in relabelled}, "made anew with other labels"
    assert Counter(member.role for member in relabelled) == {Role.RELABELLED_PIRACY: 8, Role.RELABELLED_HOMOLOGOUS: 4}
    assert sum(member.role == Role.PIRACY for member in whole) == 4
    modified = Counter(member.role for member in found if member.spec.modifications)
    n_attacks = 4  # two radii, fresh images, guessed churn; the victim is not attacked
    assert modified[Role.MODIFIED_PIRACY] == 2 * (modified[Role.MODIFIED_VICTIM] + n_attacks) > 0
    assert modified[Role.MODIFIED_HOMOLOGOUS] == modified[Role.MODIFIED_VICTIM] + n_attacks
    with pytest.raises(UserError, match="it makes none of the 8 of the kit there"):
        modified_suspects(counts, config, plan_enrollment(small_config(), SMALL, 1, digits), kit)
