"""Victim and siblings that share the beginning of their training, and what such siblings are worth."""

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import run
from small_enrollment import small_config
from system import context_on, tiny, tiny_plan
from torch import Tensor

from uapfp_dist.config.precision import with_precision
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.config.schema import Config, SiblingConfig
from uapfp_dist.config.validation import check
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan, make_plan
from uapfp_dist.evaluation.sibling_specs import from_common_start
from uapfp_dist.evaluation.sibling_study import SiblingCounts, SiblingPower, sibling_plan, sibling_power, study_specs
from uapfp_dist.evaluation.task_work import DataSizes, model_work
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.launch import sibling_cost
from uapfp_dist.models import build
from uapfp_dist.models.training import Trainer, TrainingState
from uapfp_dist.reporting.figures.sibling_study import sibling_figure
from uapfp_dist.rng import torch_rng
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.description import describe
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.members import Role, members_of
from uapfp_dist.tasks.run_specs import Continued, TrainingCheckpointSpec
from uapfp_dist.tasks.scheduler import dependency_order
from uapfp_dist.tasks.specs import Recipe, Trained

CPU = torch.device("cpu")
SIZES = DataSizes(100, 100, 100)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
@pytest.mark.parametrize("until", [0.3, 0.9])
def test_a_training_taken_up_again_is_the_training(
    optimizer: str, until: float, own: Tensor, digits: Dataset, digits_splits: object, tmp_path: Path
) -> None:
    """Weights, optimizer and schedule: bit for bit what the same random numbers give without a break.

    Also where it comes from a file, whose tensors lie in memory in another order than those of a convolution.
    """
    labels = digits.labels[digits_splits.d_v]  # type: ignore[attr-defined]
    recipe = Recipe(optimizer, 64, 40 * 64)
    whole_rng, rng = torch_rng("run"), torch_rng("run")
    whole = Trainer(build("A", (1, 8, 8), 10, 4, 0, CPU), recipe, whole_rng)
    whole.run(own, labels, until)
    first = Trainer(build("A", (1, 8, 8), 10, 4, 0, CPU), recipe, rng)
    first.run(own, labels, until)
    state = first.state()
    store = Store(str(tmp_path))
    for name, tensors in (("weights", state.weights), ("optimizer", state.optimizer)):
        store.put("state", name, tensors, {})
    read = (store.get("state", name).tensors for name in ("weights", "optimizer"))
    first.run(own, labels)  # moves nothing that was kept
    second = Trainer(build("A", (1, 8, 8), 10, 4, 99, CPU), recipe, torch_rng("run"))
    second.rng.set_state(whole_rng.get_state())
    second.resume(state)
    third = Trainer(build("A", (1, 8, 8), 10, 4, 98, CPU), recipe, torch_rng("run"))
    third.rng.set_state(whole_rng.get_state())
    third.resume(TrainingState(state.step, *read))
    for one in (whole, second, third):
        one.run(own, labels)
        assert one.step == 40
        for name, tensor in whole.net.state_dict().items():
            assert torch.equal(tensor, one.net.state_dict()[name]), name


# Specs


def siblings_of(repeated: float, backbone: bool = False) -> Config:
    return replace(tiny(), siblings=SiblingConfig(3, 2, 0.1, repeated=repeated, backbone=backbone))


@pytest.mark.parametrize(("repeated", "backbone"), [(0.25, False), (0.25, True), (1.0, True)])
def test_a_victim_differs_from_its_siblings_in_its_seed_alone(repeated: float, backbone: bool, digits: Dataset) -> None:
    """Also where the start is shared: exchangeable given the start, which none of them is."""
    plan = make_plan(siblings_of(repeated, backbone), 0, digits)
    victim, siblings = plan.members[0].spec, [m.spec for m in members_of(plan.members, Role.SIBLING)]
    assert len({one.seed for one in (victim, *siblings)}) == 6
    assert {replace(one, seed=0, gate=None) for one in siblings} == {replace(victim, seed=0)}
    assert isinstance(victim.origin, Continued)
    (start,) = victim.needs
    assert victim.origin.start == start
    ordinary = make_plan(siblings_of(1.0), 0, digits).members[0].spec
    if backbone:
        assert start.origin == Trained("homologous_set", 0.0)  # type: ignore[attr-defined]
        assert victim.recipe.samples_seen == math.ceil(repeated * ordinary.recipe.samples_seen)
    else:
        assert isinstance(start, TrainingCheckpointSpec)
        assert start.share == 1 - repeated
        assert (victim.recipe, start.model.recipe) == (ordinary.recipe, ordinary.recipe)
        assert start.model.seed not in {one.seed for one in (ordinary, victim, *siblings)}
        assert model_work(victim, SIZES) == pytest.approx(repeated * model_work(ordinary, SIZES))


def test_nothing_is_renamed_where_all_is_repeated(digits: Dataset) -> None:
    plan, ordinary = (make_plan(config, 0, digits) for config in (siblings_of(1.0), siblings_of(0.5)))
    victim = tiny_plan().members[0].spec
    assert plan.members[0].spec == victim
    assert from_common_start(victim, SiblingConfig(), 0) is victim
    assert not {m.spec.id for m in members_of(plan.members, Role.SIBLING)} & {m.spec.id for m in ordinary.members}


@pytest.mark.parametrize("repeated", [0.0, 1.5])
def test_shares_that_make_no_sense_are_refused(repeated: float, digits: Dataset) -> None:
    with pytest.raises(UserError) as caught:
        check(siblings_of(repeated))
    assert caught.value.argument == "siblings.repeated"
    with pytest.raises(UserError, match="shares above 0 and up to 1"):
        sibling_plan(tiny(), SiblingCounts(), "checkpoint", repeated, 0, digits)
    with pytest.raises(UserError, match="n_sibling_piracy: expected at least 2, got 1"):
        sibling_plan(tiny(), SiblingCounts(n_sibling_piracy=1), "checkpoint", 0.5, 0, digits)


# Through the store


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> TaskContext:
    return context_on(Store(str(tmp_path_factory.mktemp("starts"))))


def make(context: TaskContext, *specs: Spec) -> None:
    for one in dependency_order(specs):
        if not context.store.has(*one.artifact):
            perform_task(context, one)


@pytest.mark.parametrize("backbone", [False, True])
def test_siblings_of_a_short_rest_are_near_their_victim(backbone: bool, context: TaskContext, digits: Dataset) -> None:
    """All start from the same weights and end apart; the less they repeat, the nearer."""
    distance = {}
    for repeated in (0.1, 0.6):
        plan = make_plan(siblings_of(repeated, backbone), 0, digits)
        victim, sibling = (plan.members[0].spec, members_of(plan.members, Role.SIBLING)[0].spec)
        sibling = replace(sibling, gate=None)
        make(context, victim, sibling)
        one, other = (context.store.get("model", spec.id) for spec in (victim, sibling))
        assert one.info["origin"] == "trained:victim_set"
        assert one.info["train_digest"] == other.info["train_digest"]
        whole = math.ceil(victim.recipe.samples_seen / victim.recipe.batch_size)
        assert one.info["steps"] == whole
        distance[repeated] = sum(float((one.tensors[name] - other.tensors[name]).norm()) for name in one.tensors)
    assert 0 < distance[0.1] < distance[0.6]
    assert ("backbone" if backbone else "checkpoint at 0.4") in describe(victim)


def test_a_victim_of_a_common_start_can_be_stolen_from(context: TaskContext, digits: Dataset) -> None:
    """Its own images are those of D_v: a thief sends none of them; its start is made first."""
    plan = make_plan(siblings_of(0.5), 0, digits)
    stolen = members_of(plan.members, Role.PIRACY)[0].spec
    order = [spec.kind for spec in dependency_order([stolen])]
    assert order == ["training_checkpoint", "model", "model"]
    make(context, stolen)
    assert context.store.get("model", stolen.id).info["queries"] > 0


# The study


COUNTS = SiblingCounts(n_committee=2, n_sibling_piracy=2, n_stolen=2, n_labels=15, alpha=0.4)


def test_the_study_counts_what_it_says(context: TaskContext, digits: Dataset) -> None:
    """Scores, AUC and claims against arithmetic by hand, on the labels of the nets themselves."""
    config = replace(small_config(), siblings=SiblingConfig(gate=0.1))
    plan: Plan = sibling_plan(config, COUNTS, "checkpoint", 0.5, 3, digits)
    assert Counter(m.role for m in plan.members) == {
        Role.VICTIM: 1, Role.PIRACY: 2, Role.SIBLING: 4, Role.SIBLING_PIRACY: 2,
    }  # fmt: skip
    empty = sibling_power(plan, COUNTS, context.store)
    assert (empty.n_departures, empty.caught, empty.n_stolen) == (0, None, 0)
    assert math.isnan(empty.auc)
    make(context, *study_specs(plan))
    found = sibling_power(plan, COUNTS, context.store)
    assert plan.churn is not None
    points = next(iter(context.churn(plan.churn).values()))
    chosen, per_image = [], Counter[int]()
    for i, base in enumerate(points.base.tolist()):
        per_image[base] += 1
        if per_image[base] <= plan.config.churn.per_image and len(chosen) < 15:
            chosen.append(i)
    images = points.images[chosen].float() / 255
    scores = {
        role: [
            float((context.net(m.spec)(images).argmax(1) == points.labels[chosen]).double().mean())
            for m in members_of(plan.members, role)
        ]
        for role in (Role.PIRACY, Role.SIBLING_PIRACY)
    }
    stolen, from_siblings = scores.values()
    pairs = [(s > r) + 0.5 * (s == r) for s in stolen for r in from_siblings]
    assert found.auc == pytest.approx(sum(pairs) / 4)
    assert found.caught == sum(all(s > r for r in from_siblings) for s in stolen)
    assert (found.n_labels, found.n_departures) == (len(chosen), points.n_departures)
    assert (found.start, found.repeated, found.seed) == ("checkpoint", 0.5, 3)
    assert 0 < found.sibling_accuracy <= 1
    cannot = sibling_power(plan, replace(COUNTS, alpha=0.05), context.store)
    assert (cannot.caught, cannot.auc) == (None, found.auc)


def test_the_figure_shows_every_victim() -> None:
    found = [
        SiblingPower(kind, share, seed, 1000, 50, 40, 0.8, 4, 19, caught, 0.9, 0.9, 1.0)  # type: ignore[arg-type]
        for kind, share in (("checkpoint", 0.25), ("backbone", 0.25), ("scratch", 1.0))
        for seed, caught in ((0, 2), (1, None))
    ]
    figure = sibling_figure(found)
    marks = [sum(len(one.get_offsets()) for one in axis.collections) for axis in figure.axes]  # type: ignore[arg-type]
    assert marks == [6, 3, 6], "what could not be decided is no 0"
    assert {tuple(p) for one in figure.axes[1].collections for p in one.get_offsets().tolist()} == {  # type: ignore[union-attr]
        (0.25, 0.5), (1.0, 0.5),
    }  # fmt: skip
    assert sibling_figure([]).axes


@pytest.mark.parametrize(
    ("made", "said"), [((19, 19), "19"), ((18, 18), "18 (of 19 asked for)"), ((17, 19), "17 to 19 (of 19 asked for)")]
)
def test_the_table_counts_the_siblings_that_were_made(made: tuple[int, int], said: str) -> None:
    found = [SiblingPower("scratch", 1.0, seed, 9, 5, 4, 0.8, 4, n, 2, 0.9, 0.9, 1.0) for seed, n in enumerate(made)]
    title = next(sibling_cost.sibling_rows("digits", found, SiblingCounts(), []))
    assert f"one stolen from each of {said} siblings, which" in title


def test_the_command_measures_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(small_config(), siblings=SiblingConfig(gate=0.1))
    monkeypatch.setattr(sibling_cost, "enroll_preset", lambda name: config)
    few = ("--n-committee", "2", "--n-sibling-piracy", "2", "--n-stolen", "2", "--n-labels", "10", "--alpha", "0.4")
    here = ("--storage", str(tmp_path / "s"), "--workers", "0", "--out", str(tmp_path / "out"))
    once = ("sibling-cost", "--seeds", "0", "--shares", "0.5", "--backbone-shares", "--precision", "auto", *few, *here)
    run(*once)
    shown = capsys.readouterr()
    assert "to make: 9 models, 4 of them siblings of the victim (0 already stored)" in shown.err
    text = (tmp_path / "out" / "digits-siblings.md").read_text()
    assert shown.out.rstrip() == text.rstrip()
    resolved = with_precision(replace(config, precision="auto"), RuntimeConfig().gpus_per_worker).precision
    assert text.startswith(f"`digits`, {resolved}, 9 models: ")
    assert "| from a checkpoint of the victim's run | 0.5 | 0 |" in text
    (one,) = json.loads((tmp_path / "out" / "digits-siblings.json").read_text())
    assert (one["start"], one["n_sibling_piracy"]) == ("checkpoint", 2)
    assert (tmp_path / "out" / "digits-siblings.png").stat().st_size > 0
    run(*once)
    again = capsys.readouterr()
    assert "to make: 0 models (9 already stored)" in again.err
    assert again.out == shown.out
    with pytest.raises(UserError, match="shares: expected at least one, got none"):
        run("sibling-cost", "--shares", "--backbone-shares", *few, *here)
