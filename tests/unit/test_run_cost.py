"""What a run will cost: how much work each task is, how fast a net is, what is said and refused."""

import io
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from system import MODELS, context_on, copy_store, run_here, tiny, tiny_plan, tiny_with_siblings

from uapfp_dist.config.presets import preset
from uapfp_dist.config.runtime import RuntimeConfig, check_runtime
from uapfp_dist.data import Dataset, make_splits
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation import cost, step_seconds
from uapfp_dist.evaluation.cost import RunCost, cost_of, in_words, judging_seconds
from uapfp_dist.evaluation.plan import Plan, make_plan
from uapfp_dist.evaluation.step_seconds import FIRST_BATCH, seconds_per_image
from uapfp_dist.evaluation.task_work import DataSizes, _asked, model_work, net_of, task_work
from uapfp_dist.fingerprints.blocks import CLEAN
from uapfp_dist.fingerprints.querying import n_query_images
from uapfp_dist.launch.cost import WorkerRoom, say_cost
from uapfp_dist.launch.evaluation import run
from uapfp_dist.models.training import Trainer
from uapfp_dist.progress import Progress
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.pool_specs import PoolSpec, SiblingPointsSpec
from uapfp_dist.tasks.specs import Checkpoint, Extracted, ModelSpec, Modified, ResponseSpec, Trained, TrajectorySpec

SIZES = DataSizes(150, 60, 90)
A_LITTLE = 1e-6
"""Hours."""


@pytest.fixture(scope="module")
def whole(digits: Dataset) -> Plan:
    """Every kind of task, on digits."""
    base = preset("fashion_mnist-small")
    config = replace(base, data=preset("digits").data, fingerprint=preset("digits").fingerprint)
    return make_plan(config, 0, digits)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return tiny_plan()


@pytest.fixture(scope="module")
def evaluated(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """It is made."""
    store = Store(str(tmp_path_factory.mktemp("cost") / "store"))
    run_here(plan, store)
    return store


# How much work a task is


def test_every_task_is_worth_something_but_those_that_take_no_net(whole: Plan) -> None:
    for spec in whole.specs:
        idle = isinstance(spec, PoolSpec | SiblingPointsSpec)
        assert (net_of(spec) is None) == idle
        assert (task_work(spec, SIZES) > 0) == (not idle), spec


def test_an_extraction_is_paid_once_however_many_checkpoints_are_taken_of_it(whole: Plan) -> None:
    models = [spec for spec in whole.specs if isinstance(spec, ModelSpec)]
    checkpoints = [spec for spec in models if isinstance(spec.origin, Checkpoint)]
    trajectories = [spec for spec in whole.specs if isinstance(spec, TrajectorySpec)]
    assert len(checkpoints) > len(trajectories) > 0
    assert {model_work(spec, SIZES) for spec in checkpoints} == {0.0}
    for spec in trajectories:
        assert task_work(spec, SIZES) > model_work(spec.model, SIZES) >= spec.model.recipe.samples_seen


def test_a_modification_is_worth_its_own_images_not_those_of_the_model(whole: Plan) -> None:
    """An attacker's ATTACK set is small: only distillation and what trains models takes as long as a training."""
    seen: dict[str, float] = {}
    for spec in whole.specs:
        if isinstance(spec, ModelSpec) and isinstance(spec.origin, Modified):
            seen[spec.origin.modification.description] = model_work(spec, SIZES)
        elif isinstance(spec, ModelSpec) and isinstance(spec.origin, Trained):
            assert model_work(spec, SIZES) == spec.recipe.samples_seen
        elif isinstance(spec, ModelSpec) and isinstance(spec.origin, Extracted):
            assert model_work(spec, SIZES) >= spec.recipe.samples_seen
    assert seen["fine-tune"] == 10 * SIZES.attack
    assert seen["fine-tune last layer"] < SIZES.attack > seen["INT8"]
    assert seen["prune .4"] < seen["prune .4 + recovery"] == 2 * SIZES.attack
    assert seen["adversarial training 30 (own labels)"] > 30 * 2 * 128
    assert seen["distillation"] == whole.members[0].spec.recipe.samples_seen


def test_what_is_in_float32_takes_longer_beside_training_in_bfloat16(whole: Plan, digits: Dataset) -> None:
    faster = make_plan(replace(whole.config, precision="bfloat16"), 0, digits)
    for spec, other in zip(whole.specs, faster.specs, strict=True):
        ratio = task_work(other, SIZES) / max(task_work(spec, SIZES), 1e-9)
        trains = isinstance(spec, ModelSpec) and not isinstance(spec.origin, Modified | Checkpoint)
        if net_of(spec) is not None:
            assert ratio < 1.1 if trains else 1.0 < ratio <= 1.5 + 1e-9, spec


def test_the_images_that_a_model_is_asked_are_those_of_its_probe(evaluated: Store, plan: Plan, digits: Dataset) -> None:
    """Nearly: a point of two views is asked once."""
    sizes = DataSizes.of(make_splits(digits, plan.data))
    context = context_on(evaluated)
    for spec in plan.specs:
        if isinstance(spec, ResponseSpec):
            probe = context.probe(spec.probe)
            real = sum(n_query_images(probe, key, spec.part) for key in (CLEAN, *probe.blocks)) + len(probe.natural)
            assert 0.5 < real / _asked(spec, sizes) <= 1.05


# How fast a net is


def one_of(plan: Plan, architecture: str) -> ModelSpec:
    """A model of the plan."""
    return next(m.spec for m in plan.members if m.spec.architecture == architecture)


@pytest.mark.parametrize(("seconds", "most"), [(0.5, 3 * FIRST_BATCH), (0.001, 12 * 128)])
def test_a_large_net_is_measured_by_a_few_images(
    seconds: float, most: int, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a net whose steps take long, three of 8 images; of a small one, as many as fit into a tenth of a second."""
    seen, now = [], [0.0]
    monkeypatch.setattr(step_seconds.time, "perf_counter", lambda: now[0])

    def slow(self: Trainer, images: torch.Tensor, targets: torch.Tensor, until: float) -> None:
        n = round(self.total_steps * until) - self.step
        self.step += n
        now[0] += n * seconds * len(images) / FIRST_BATCH
        seen.append((n * len(images), self.recipe))

    monkeypatch.setattr(Trainer, "run", slow)
    spec = one_of(plan, "B")
    spec = replace(spec, recipe=replace(spec.recipe, precision="bfloat16", augment=True))
    found = seconds_per_image(spec, context_on(Store(str(tmp_path))))
    assert found == pytest.approx(seconds / FIRST_BATCH)
    assert sum(n for n, _ in seen) <= most
    assert {(recipe.precision, recipe.augment, recipe.optimizer) for _, recipe in seen} == {
        ("bfloat16", True, spec.recipe.optimizer)
    }


def test_a_real_net_is_measured(plan: Plan, tmp_path: Path) -> None:
    """Also of a model that is modified later, whose integers cannot be trained."""
    assert seconds_per_image(one_of(plan, "C"), context_on(Store(str(tmp_path)))) > 0


def test_on_a_gpu_more_steps_are_taken_after_some_that_do_not_count(plan: Plan, tmp_path: Path) -> None:
    """Here on a CPU, which can take them, too."""
    assert step_seconds._on_gpu(one_of(plan, "C"), context_on(Store(str(tmp_path)))) > 0


def test_each_architecture_is_measured_once(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []

    def measure(spec: ModelSpec, context: object) -> float:
        measured.append(spec.architecture)
        return 0.001

    monkeypatch.setattr(cost, "seconds_per_image", measure)
    found = cost_of(plan.specs, (), context_on(Store(str(tmp_path))))
    assert sorted(measured) == sorted({m.spec.architecture for m in plan.members})
    assert (found.models, found.stored) == (MODELS, 0)
    assert found.others == len(plan.specs) - MODELS
    assert found.seconds == pytest.approx(sum(found.by_architecture.values()))
    assert "a few steps of training on this CPU" in found.summary(2)


def unmeasured(spec: ModelSpec, context: object) -> float:
    """Not to be called."""
    raise AssertionError(spec)


def test_nothing_is_measured_where_all_is_stored(plan: Plan, evaluated: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "seconds_per_image", unmeasured)
    found = cost_of(plan.specs, (), context_on(evaluated))
    assert (found.models, found.others, found.seconds, found.stored) == (0, 0, 0.0, MODELS)
    assert found.other_code == ()


def test_what_was_given_up_is_no_work(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that stayed below its gate, and all that needs it, will not be made."""
    monkeypatch.setattr(cost, "seconds_per_image", lambda *_: 0.001)
    store = Store(str(tmp_path))
    before = cost_of(plan.specs, (), context_on(store))
    stolen = next(m.spec for m in plan.members if m.role == "piracy")
    store.put("below_gate", stolen.id, {}, {"why": "accuracy"})
    lost = {stolen.id}
    for spec in plan.specs:
        lost |= {spec.id} if any(needed.id in lost for needed in spec.needs) else set()
    assert len(lost) > 1, "its responses, too"
    found = cost_of(plan.specs, (), context_on(store))
    n_models = sum(m.spec.id in lost for m in plan.members)
    assert (before.models - found.models, before.others - found.others) == (n_models, len(lost) - n_models)
    assert found.seconds < before.seconds
    store.put("below_gate", plan.members[0].spec.id, {}, {"why": "accuracy"})
    nothing = cost_of(plan.specs, (), context_on(store))
    assert nothing.models < found.models


def test_what_is_left_is_told_by_the_cards_of_what_is_there(
    plan: Plan, evaluated: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cards that say twice as long tell twice as long; made on a GPU they say nothing of a CPU."""
    monkeypatch.setattr(cost, "seconds_per_image", unmeasured)
    store = copy_store(Path(evaluated.root), tmp_path / "store")
    gone = [m.spec for m in plan.members if isinstance(m.spec.origin, Extracted)][:2]
    for spec in gone:
        store.discard("model", spec.id)
    before = cost_of(plan.specs, (), context_on(store))
    assert (before.models, before.stored) == (2, MODELS - 2)
    assert "by the models made before" in before.summary(1)

    def rewrite(**changed: Any) -> None:
        for member in plan.members:
            if member.spec not in gone:
                artifact = store.get("model", member.spec.id)
                info = {**artifact.info, **{key: change(artifact.info[key]) for key, change in changed.items()}}
                store.put("model", member.spec.id, artifact.tensors, info)

    rewrite(seconds=lambda seconds: 2 * seconds)
    after = cost_of(plan.specs, (), context_on(store))
    assert after.seconds == pytest.approx(2 * before.seconds - cost.TASK_SECONDS * 2, rel=1e-6)
    rewrite(device=lambda device: "cuda (some)")
    with pytest.raises(AssertionError, match="ModelSpec"):
        cost_of(plan.specs, (), context_on(store))


# What is said and refused


def test_the_judging_follows_its_methods_formats_and_points() -> None:
    config = tiny()
    assert judging_seconds(config) > 0
    more = replace(config, verdict=replace(config.verdict, n_resamples=2 * config.verdict.n_resamples))
    assert judging_seconds(more) == pytest.approx(2 * judging_seconds(config))
    real = preset("fashion_mnist-small")
    assert 500 < judging_seconds(real) * 26 / len(real.verdict.compared) < 800  # 26 methods took 717 s


def test_workers_share_the_tasks_and_not_the_judging() -> None:
    found = RunCost(10, 2, 3600.0, "x", {"A": 3600.0}, judging=600.0)
    assert found.wall_seconds(2) == 2400.0
    assert found.wall_seconds(1, lambda _: 4) == 1500.0
    assert "about 40 min on 2 workers" in found.summary(2)
    assert [in_words(s) for s in (1, 61, 10_000, 36_000)] == ["1 min", "2 min", "167 min", "10.0 h"]


def told(max_hours: float | None, **costs: Any) -> str:
    """What is said of a cost of an hour on one worker."""
    out = io.StringIO()

    def estimate(context: object, on_gpus: bool) -> RunCost:
        return RunCost(7, 3, 3600.0, "cards", {"A": 3600.0}, **costs)

    context = context_on(Store("memory://cost"))
    say_cost(estimate, context, WorkerRoom(1), max_hours, Progress(workers=1, out=out))
    return out.getvalue()


def test_a_run_beyond_its_limit_is_refused_in_a_line() -> None:
    said = "to make: 7 models (3 already stored), 4 other tasks, about 60 min on 1 worker, by cards\n"
    assert told(None, others=4) == told(1.0, others=4) == said
    assert told(None, other_code=("it is old",)).endswith("by cards\nit is old\n")
    with pytest.raises(UserError, match=r"at most 0.5 h, this takes about 60 min \(to make: 7 models.*fewer") as caught:
        told(0.5)
    assert caught.value.argument == "max_hours"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("hours", [0.0, -1.0, float("nan")])
def test_a_limit_is_a_number_above_0(hours: float) -> None:
    with pytest.raises(UserError, match="max_hours: expected hours above 0"):
        check_runtime(RuntimeConfig(max_hours=hours))


def test_an_evaluation_beyond_its_limit_begins_nothing(
    plan: Plan, evaluated: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No plan is kept and no run opened; what is stored counts no more: the same limit lets a finished one pass."""
    config, limited = tiny(), RuntimeConfig(storage=str(tmp_path / "new"), workers=0, max_hours=A_LITTLE)
    with pytest.raises(UserError, match="max_hours"):
        run(config, "digits", 0, limited)
    assert f"to make: {MODELS} models (0 already stored)" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "new").iterdir()} <= {"store.json", "splits"}
    store = copy_store(Path(evaluated.root), tmp_path / "done")
    assert run(config, "digits", 0, replace(limited, storage=store.url)).models.trained == 0  # type: ignore[union-attr]
    assert "to make" not in capsys.readouterr().err


def test_siblings_are_counted_apart(tmp_path: Path) -> None:
    plan = tiny_plan(tiny_with_siblings())
    siblings = [m.spec for m in plan.members if m.role == "sibling"]
    estimate = partial(cost_of, plan.specs, siblings)
    found = estimate(context_on(Store(str(tmp_path))))
    assert f"{len(siblings)} of them siblings of the victim" in found.to_make()


def test_a_cluster_is_not_named_to_one_process() -> None:
    """It would not be used."""
    with pytest.raises(UserError, match="address: expected none with workers 0"):
        check_runtime(RuntimeConfig(address="auto", workers=0))
