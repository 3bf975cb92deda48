"""Models of every origin through the store: modified, composed, taken from the middle of an extraction."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from system import context_on, tiny, tiny_plan

from uapfp_dist.attacks import DivergedError
from uapfp_dist.data import Dataset, Splits
from uapfp_dist.data.splits import attack_pool, training_set
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.modified_models import modified
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.execution import make_model as models
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.make_model import GateError, NotReachedError, watched_images
from uapfp_dist.execution.modifying import before_adversarial
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.response_format import LABEL
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.members import Member, Role
from uapfp_dist.tasks.modification_specs import AdversarialTraining, Distill, FineTune, Int8, Prune
from uapfp_dist.tasks.scheduler import dependency_order
from uapfp_dist.tasks.specs import (
    Checkpoint,
    Extracted,
    ModelSpec,
    Modified,
    Recipe,
    Trained,
    TrajectorySpec,
    reaches,
)


@pytest.fixture(scope="module")
def plan() -> Plan:
    """A tiny zoo."""
    return tiny_plan()


@pytest.fixture(scope="module")
def context(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> TaskContext:
    """With the victim and one stolen model made."""
    context = context_on(Store(str(tmp_path_factory.mktemp("models"))))
    make(context, stolen_model_of(plan))
    return context


def stolen_model_of(plan: Plan) -> ModelSpec:
    """The first piracy model."""
    return next(m.spec for m in plan.members if m.role == "piracy")


def victim_of(plan: Plan) -> ModelSpec:
    """The owner's model."""
    return next(m.spec for m in plan.members if m.role == "victim")


def make(context: TaskContext, spec: ModelSpec) -> dict[str, object]:
    """Make a model and what it needs; returns its card."""
    for one in dependency_order([spec]):
        if not context.store.has(*one.artifact):
            perform_task(context, one)
    return context.store.get("model", spec.id).info


CHANGES = [
    FineTune(2.0),
    FineTune(2.0, "last"),
    FineTune(2.0, "new_last"),
    Prune(0.5),
    Prune(0.5, 1.0),
    Int8(50),
    AdversarialTraining(2),
    AdversarialTraining(2, 0, "true"),
]


@pytest.mark.parametrize("change", CHANGES, ids=repr)
def test_a_modified_model_is_an_artifact_like_any_other(change: object, context: TaskContext, plan: Plan) -> None:
    """It has a card with the accuracy before and after, loads as what was stored, and leaves its base alone."""
    base = stolen_model_of(plan)
    before = context.store.get("model", base.id)
    spec = modified(base, change)  # type: ignore[arg-type]
    card = make(context, spec)
    assert card["accuracy_before"] == before.info["accuracy"]
    assert len(card["changes"]) == 1  # type: ignore[arg-type]
    assert card["recovery"] is not None
    again = context.store.get("model", base.id)
    assert all(torch.equal(tensor, again.tensors[name]) for name, tensor in before.tensors.items())
    stored = context.store.get("model", spec.id).tensors
    loaded = context.net(spec).state_dict()
    assert stored.keys() == loaded.keys()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in stored.items())


def test_modifications_compose_in_their_order(context: TaskContext, plan: Plan) -> None:
    """A pruned, fine-tuned stolen model is one spec that needs the pruned one; the other order is another model."""
    base = stolen_model_of(plan)
    pruned = modified(base, Prune(0.5))
    spec = modified(pruned, FineTune(1.0))
    assert spec.needs == (pruned,)
    assert spec.modifications == (Prune(0.5), FineTune(1.0))
    assert spec.root == base
    assert spec.id != modified(modified(base, FineTune(1.0)), Prune(0.5)).id
    card = make(context, spec)
    assert card["accuracy_before"] == context.store.get("model", pruned.id).info["accuracy"]
    assert card["changes"] == ["prune .5", "fine-tune"]


def test_an_integer_model_can_be_quantised_last_only(context: TaskContext, plan: Plan) -> None:
    """It has nothing to train."""
    spec = modified(modified(stolen_model_of(plan), Int8(50)), FineTune(1.0))
    with pytest.raises(UserError, match="INT8") as caught:
        make(context, spec)
    assert "\n" not in str(caught.value)


def test_a_student_has_an_architecture_of_its_own(context: TaskContext, plan: Plan) -> None:
    """And is still known as stolen from the victim."""
    base = stolen_model_of(plan)
    other = "C" if base.architecture != "C" else "E"
    spec = modified(base, Distill(), other)
    assert make(context, spec)["architecture"] == other
    assert spec.extraction == base.origin


def test_the_attackers_own_labels_are_those_before_the_whole_chain(plan: Plan) -> None:
    """However many links it has, and whatever was done before it."""
    pruned = modified(stolen_model_of(plan), Prune(0.5))
    spec = pruned
    for start in (0, 30, 60):
        spec = modified(spec, AdversarialTraining(30, start))
        assert isinstance(spec.origin, Modified)
        assert before_adversarial(spec.origin) == pruned


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_queries_overlap_with_the_victims_images_as_chosen(
    share: float, plan: Plan, digits: Dataset, digits_splits: Splits
) -> None:
    """So large a part of the pool is the victim's; the pool keeps its size."""
    origin = stolen_model_of(plan).origin
    assert isinstance(origin, Extracted)
    assert isinstance(origin.victim.origin, Trained)
    own = training_set(digits_splits, origin.victim.origin, origin.victim.seed)
    alone = attack_pool(digits_splits, origin)
    pool = attack_pool(digits_splits, replace(origin, overlap=share), seed=3)
    assert len(pool) == len(alone)
    assert len(pool.unique()) == len(pool)
    assert int(torch.isin(pool, own).sum()) == min(round(share * len(alone)), len(own))
    assert not torch.isin(alone, own).any()


def knockoff_of(victim: ModelSpec, **more: Any) -> ModelSpec:
    """A model extracted from it by natural images alone, whatever its accuracy."""
    origin = Extracted(victim, "knockoff", LABEL, 400, 0, 1.0, **more)
    return ModelSpec(victim.data, "C", 4, Recipe("adam", 64, 8000), origin, 7)


def test_a_thief_of_a_thief_is_measured_against_its_own_victim(context: TaskContext, plan: Plan) -> None:
    """Made after it; recovery and agreement are with the model that was queried, not with the root of all thefts."""
    first = stolen_model_of(plan)
    second = knockoff_of(first)
    third = knockoff_of(second)
    card = make(context, third)
    assert third.needs == (second,)
    assert dependency_order([third])[-2:] == [second, third]
    assert Member(Role.PIRACY, third).stolen_from == second.id
    dataset, splits = context.data(third.data)
    predicted = [
        predict_probabilities(context.net(spec), dataset.pixels(splits.eval)).argmax(1) for spec in (third, second)
    ]
    assert card["agreement"] == float((predicted[0] == predicted[1]).float().mean())
    accuracy = context.store.get("model", second.id).info["accuracy"]
    assert card["recovery"] == pytest.approx(card["accuracy"] / accuracy)
    assert card["queries"] == 400
    assert isinstance(first.origin, Extracted)
    assert card["origin"] == f"knockoff:hard of knockoff:hard of {first.origin.attack}:hard"
    assert make(context, modified(third, Prune(0.5)))["origin"] == card["origin"]


def test_a_modified_model_is_not_extracted(context: TaskContext, plan: Plan) -> None:
    """It is refused as a victim, in one line."""
    with pytest.raises(UserError, match=r"^extraction: .* got a modified one$"):
        make(context, knockoff_of(modified(stolen_model_of(plan), Prune(0.5))))


def test_a_mixing_thief_is_queried_less_and_says_so(context: TaskContext, plan: Plan) -> None:
    """Its card counts what was sent; with most labels true it does well whatever a poor victim answers."""
    victim = replace(victim_of(plan), recipe=Recipe("adam", 64, 64))
    plain, mixing = knockoff_of(victim), knockoff_of(victim, true_share=0.75)
    assert plain == knockoff_of(victim, true_share=0.0)
    assert plain.id == knockoff_of(victim, true_share=0.0).id != mixing.id
    cards = [make(context, spec) for spec in (plain, mixing)]
    assert [card["queries"] for card in cards] == [400, 100]
    assert [card["origin"] for card in cards] == ["knockoff:hard", "knockoff:hard, .75 true"]
    assert cards[0]["train_digest"] == cards[1]["train_digest"]
    assert cards[1]["accuracy"] > 0.5 > 0.3 > cards[0]["accuracy"]  # type: ignore[operator]
    assert cards[1]["agreement"] < cards[0]["agreement"]  # type: ignore[operator]


def test_a_mixing_thief_is_kept_at_its_recovery_rates(context: TaskContext, plan: Plan) -> None:
    """As the extraction itself, with the same true labels."""
    base = knockoff_of(victim_of(plan), true_share=0.5)
    trajectory = TrajectorySpec(base, (0.05,))
    assert make(context, replace(base, origin=Checkpoint(trajectory, 0.05)))["queries"] == 200


def test_checkpoints_of_one_extraction_stand_at_their_recovery(context: TaskContext, plan: Plan) -> None:
    """One extraction, several models: in order of steps; a level that was never reached says which were."""
    base = replace(stolen_model_of(plan), gate=None, seed=5)
    trajectory = TrajectorySpec(base, (0.2, 0.4, 1.9))
    cards = [make(context, replace(base, origin=Checkpoint(trajectory, level))) for level in (0.2, 0.4)]
    assert cards[0]["steps"] <= cards[1]["steps"]  # type: ignore[operator]
    assert cards[0]["queries"] <= cards[1]["queries"]  # type: ignore[operator]
    with pytest.raises(NotReachedError, match=r"1\.9 was never reached.*0\.2.*0\.4"):
        make(context, replace(base, origin=Checkpoint(trajectory, 1.9)))


def test_a_diverged_attempt_is_tried_again_with_another_seed(
    context: TaskContext, plan: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As one below the gate; when all diverge the reason says so."""
    make_one = models._make
    tried = []

    def diverges(first: int):  # type: ignore[no-untyped-def]
        def attempt(context: TaskContext, spec: ModelSpec, number: int) -> models.MadeModel:
            tried.append(number)
            if number < first:
                raise DivergedError("not finite")
            return make_one(context, spec, number)

        return attempt

    base = stolen_model_of(plan)
    monkeypatch.setattr(models, "_make", diverges(1))
    assert make(context, replace(base, seed=11))["attempt"] == 1
    assert tried == [0, 1]
    monkeypatch.setattr(models, "_make", diverges(99))
    with pytest.raises(GateError, match="diverged, diverged"):
        make(context, replace(base, seed=12))


@pytest.mark.parametrize("n", [300, 1_000, 5_000])
def test_a_model_exactly_at_its_gate_is_in_and_one_image_less_is_not(n: int) -> None:
    """Accuracies are float32: 109 of 300 less .1 is a little more than 79 of 300."""
    share = (torch.arange(n + 1) / n).tolist()
    tenth = n // 10
    assert all(reaches(share[k - tenth], share[k] - 0.1) for k in range(tenth, n + 1))
    assert not any(reaches(share[k - tenth - 1], share[k] - 0.1) for k in range(tenth + 1, n + 1))


def test_tiny_is_what_these_tests_think_it_is() -> None:
    """Three attempts at a model below its gate."""
    assert tiny().zoo.attempts == 3


def test_recovery_is_watched_on_all_classes(digits_splits: Splits, digits: Dataset) -> None:
    """Where images lie class by class, the first so many would be of a few classes alone."""
    by_class = digits.labels.argsort(stable=True)
    splits = replace(digits_splits, eval=by_class)
    labels = digits.labels[watched_images(splits, "any")]
    assert len(labels) == 1000
    assert labels.bincount(minlength=10).min() > 50
    assert digits.labels[by_class[:1000]].unique().tolist() == [0, 1, 2, 3, 4, 5]
