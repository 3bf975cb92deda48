"""Thefts with images of another data set: which are sent, in which order and shape, and what is done with them."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_images import N_POOL, config, stolen, thefts
from image_sets import write_folder
from PIL import Image
from system import context_on
from torch import Tensor
from torchvision.transforms.functional import resize

from uapfp_dist.acceleration import NONE, accelerated
from uapfp_dist.data import Dataset, load
from uapfp_dist.data.splits import attack_pool, index_digest, make_splits
from uapfp_dist.data.to_shape import to_shape
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan, make_plan
from uapfp_dist.execution import modifying
from uapfp_dist.execution import natural_images as module
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.natural_images import natural_images
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.execution.training import extract_model, order_rng
from uapfp_dist.models.blackbox import Blackbox
from uapfp_dist.rng import seed_of, torch_rng
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.members import Role
from uapfp_dist.tasks.modification_specs import Distill, GuessedChurn, PgdTraining
from uapfp_dist.tasks.scheduler import dependency_order
from uapfp_dist.tasks.specs import Extracted, ModelSpec, Modified, TrajectorySpec

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def context(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> TaskContext:
    return TaskContext(Store(str(tmp_path_factory.mktemp("store"))), folder, CPU)


def make(context: TaskContext, spec: ModelSpec | TrajectorySpec) -> dict[str, Any]:
    """Make a model and what it needs; returns its card."""
    for one in dependency_order([spec]):
        if not context.store.has(*one.artifact):
            perform_task(context, one)
    return context.store.get(*spec.artifact).info


def with_budget(spec: ModelSpec, budget: int) -> ModelSpec:
    """Another theft of the kind, whatever it learns."""
    assert isinstance(spec.origin, Extracted)
    return replace(spec, origin=replace(spec.origin, budget=budget), gate=None)


def by_hand(spec: ModelSpec, others: Dataset, folder: Path, budget: int) -> Tensor:
    """(n, 1, 8, 8) in [0, 1]: what is sent, in order, each read from its file by Pillow alone."""
    drawn = torch.randperm(N_POOL, generator=torch_rng("attack pool", spec.seed))[:budget].sort().values
    order = torch.randperm(len(drawn), generator=order_rng(seed_of(spec.id, 0)))
    files = [folder / others.files[i] for i in drawn[order].tolist()]
    read = []
    for file in files:
        with Image.open(file) as image:
            read.append(np.asarray(image.convert("L").resize((8, 8), Image.Resampling.BILINEAR)))
    return torch.from_numpy(np.stack(read))[:, None].float() / 255


@pytest.mark.parametrize("budget", [40, N_POOL, 4000])
def test_what_is_sent_are_its_images(
    budget: int, plan: Plan, context: TaskContext, others: Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each once, converted, in the drawn order; the ledger counts them, and no more are converted than can be sent."""
    spec = with_budget(stolen(plan), budget)
    make(context, spec.origin.victim)  # type: ignore[union-attr]
    sent: list[Tensor] = []
    converted: list[int] = []

    def noted(victim: Blackbox, images: Tensor, plain: Callable[..., Tensor] = Blackbox.__call__) -> Tensor:
        sent.append(images.clone())
        return plain(victim, images)

    def counted(images: Tensor, shape: tuple[int, int, int]) -> Tensor:
        converted.append(len(images))
        return to_shape(images, shape)

    monkeypatch.setattr(Blackbox, "__call__", noted)
    monkeypatch.setattr(module, "to_shape", counted)
    card = make(context, spec)
    assert torch.equal(torch.cat(sent), by_hand(spec, others, folder, budget))
    assert card["queries"] == len(torch.cat(sent)) == min(budget, N_POOL) == sum(converted)
    assert card["origin"] == "knockoff from imagefolder:hard"
    drawn = torch.randperm(N_POOL, generator=torch_rng("attack pool", spec.seed))[:budget].sort().values
    assert card["train_digest"] == index_digest(drawn)


def test_thieves_draw_images_of_their_own(plan: Plan, context: TaskContext) -> None:
    specs = [with_budget(m.spec, 40) for m, origin in thefts(plan) if origin.pool and m.role != Role.MIXED_PIRACY]
    digests = [natural_images(context, spec, spec.origin).digest for spec in specs]  # type: ignore[arg-type]
    assert len(set(digests)) == len(specs) > 2


def test_on_a_gpu_they_are_bytes(plan: Plan, context: TaskContext, others: Dataset) -> None:
    spec = stolen(plan)
    assert isinstance(spec.origin, Extracted)
    natural = natural_images(context, spec, spec.origin)
    attack = modifying.ATTACKS["knockoff"]
    plain = natural.for_attack(attack, CPU)
    with accelerated(replace(NONE, byte_images=True)):
        assert natural.for_attack(attack, CPU).dtype == torch.uint8
        on_device = natural.for_attack(attack, torch.device("meta"))
    assert (on_device.device.type, on_device.dtype) == ("meta", torch.uint8)
    assert (plain.dtype, tuple(plain.shape)) == (torch.float32, (len(natural.index), 1, 8, 8))
    assert torch.equal(plain, natural.dataset.images.float() / 255)


def test_other_images_of_the_name_are_refused(plan: Plan, context: TaskContext, tmp_path: Path) -> None:
    spec = stolen(plan)
    elsewhere = TaskContext(context.store, write_folder(tmp_path / "wrong"), CPU)
    with pytest.raises(UserError, match=r"data set imagefolder: expected the images with digest .*, found") as caught:
        natural_images(elsewhere, spec, spec.origin)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="imagefolder: expected"):
        natural_images(context_on(context.store), spec, spec.origin)  # type: ignore[arg-type]


def test_they_have_no_true_labels(plan: Plan, context: TaskContext) -> None:
    spec = stolen(plan)
    mixed = replace(spec, origin=replace(spec.origin, true_share=0.5), gate=None)  # type: ignore[arg-type]
    make(context, spec.origin.victim)  # type: ignore[union-attr]
    with pytest.raises(UserError, match="true_share: expected 0 with images of imagefolder"):
        perform_task(context, mixed)


def test_the_pool_of_the_victims_kind_is_not_asked_for(plan: Plan, digits: Dataset) -> None:
    """What would ignore the other data set ends there."""
    with pytest.raises(AssertionError, match="another data set"):
        attack_pool(make_splits(digits, plan.data), stolen(plan).origin)  # type: ignore[arg-type]


def test_the_same_theft_is_watched_and_repeated(plan: Plan, context: TaskContext) -> None:
    """With checkpoints on the way, and for a sibling of the thief's own: the same images and labels."""
    spec = with_budget(stolen(plan), 60)
    assert isinstance(spec.origin, Extracted)
    make(context, spec)
    watched = make(context, TrajectorySpec(spec, (0.01,)))
    assert watched["train_digest"] == context.store.get("model", spec.id).info["train_digest"]
    assert {reached["queries"] for reached in watched["reached"].values()} == {60}
    seed = modifying._seed_of_made(context, spec)
    made, data = extract_model(context, spec, spec.origin, seed, order_rng(seed))
    stored = context.store.get("model", spec.id).tensors
    assert all(torch.equal(tensor, stored[name]) for name, tensor in made.net.state_dict().items())
    assert torch.equal(modifying._training_data(context, spec).images, data.images)


def test_what_its_thief_does_afterwards_uses_them(plan: Plan, context: TaskContext) -> None:
    """PGD on what was sent; guessed churn on the same, moved; fresh images are those of ATTACK, and moved ones."""
    spec = with_budget(stolen(plan), 60)
    make(context, spec)
    own, used = modifying.attackers_images(context, spec)
    assert sorted(used.tolist()) == list(range(60))
    sent = own.dataset.pixels(own.index)
    found = {
        kind: modifying._unlabelled(context, Modified(spec, change), spec, 3)[0]
        for kind, change in {
            "pgd": PgdTraining(0.1),
            "guessed": GuessedChurn(1.0, 2, n_images=50),
            "fresh": Distill(images="fresh"),
        }.items()
    }
    assert torch.equal(found["pgd"], sent)
    assert tuple(found["guessed"].shape) == (50, 1, 8, 8)
    dataset, splits = context.data(plan.data)
    n = len(splits.attack)
    assert torch.equal(found["fresh"][:n], dataset.pixels(splits.attack))
    assert len(found["fresh"]) == max(60, n)
    known = {image.numpy().tobytes() for image in sent}
    assert not known & {image.numpy().tobytes() for image in found["fresh"]}


@pytest.mark.skipif(not os.environ.get("UAPFP_DATA"), reason="needs Fashion-MNIST in the folder $UAPFP_DATA")
def test_clothes_steal_digits(digits: Dataset, tmp_path: Path) -> None:
    """Real images in the victim's shape: more of the victim's labels are learnt of them than by chance."""
    root = Path(os.environ["UAPFP_DATA"])
    clothes = load("fashion_mnist", root)
    chosen = config("fashion_mnist", budget=2.0)
    chosen = replace(chosen, zoo=replace(chosen.zoo, epochs=20.0, width=8, architectures=("A",)))
    real = make_plan(chosen, 0, digits, clothes)
    context = TaskContext(Store(str(tmp_path)), root, CPU)
    spec = replace(stolen(real), gate=None)
    card = make(context, spec)
    assert card["origin"] == "knockoff from fashion_mnist:hard"
    assert card["queries"] == spec.origin.budget  # type: ignore[union-attr]
    assert card["agreement"] > 0.2
    natural = natural_images(context, spec, spec.origin)  # type: ignore[arg-type]
    drawn = torch.randperm(70_000, generator=torch_rng("attack pool", spec.seed))[: len(natural.index)].sort().values
    theirs = resize(clothes.images[drawn], [8, 8], antialias=True)
    assert int((natural.dataset.images.int() - theirs.int()).abs().max()) <= 2
