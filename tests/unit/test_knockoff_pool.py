"""Knockoff with images of another data set: which are sent, in which shape, and who has none of them."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_sets import write_folder
from PIL import Image
from system import context_on, tiny, tiny_plan
from torch import Tensor
from torchvision.transforms.functional import resize, rgb_to_grayscale

from uapfp_dist.acceleration import NONE, accelerated
from uapfp_dist.config.command_line import config_flags
from uapfp_dist.config.presets import preset
from uapfp_dist.config.schema import Config, ControlConfig, DataConfig
from uapfp_dist.config.validation import check
from uapfp_dist.data import Dataset, load
from uapfp_dist.data.splits import attack_pool, index_digest, make_splits
from uapfp_dist.data.to_shape import to_shape
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.grid_axes import parse_grid
from uapfp_dist.evaluation.grid_cells import make_cells
from uapfp_dist.evaluation.judging import attack_of
from uapfp_dist.evaluation.plan import Plan, make_plan
from uapfp_dist.evaluation.spec_builder import load_pool
from uapfp_dist.execution import modifying
from uapfp_dist.execution import natural_images as module
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.natural_images import natural_images
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.execution.training import extract_model, order_rng
from uapfp_dist.models.blackbox import Blackbox
from uapfp_dist.rng import seed_of, torch_rng
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.description import describe
from uapfp_dist.tasks.members import Member, Role, members_of
from uapfp_dist.tasks.modification_specs import Distill, GuessedChurn, PgdTraining
from uapfp_dist.tasks.scheduler import dependency_order
from uapfp_dist.tasks.specs import AttackPool, Extracted, ModelSpec, Modified, TrajectorySpec
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.plan import plan_enrollment

CPU = torch.device("cpu")
N_POOL = 90


def noise(*shape: int) -> Tensor:
    """Random bytes, smooth enough that interpolation matters and not only rounding."""
    return torch.randint(256, shape, generator=torch_rng("noise"), dtype=torch.uint8)


# Shapes


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(8, 8), (9, 14), (40, 31)], ids=str)
def test_sides_are_stretched_as_torchvision_does(channels: int, size: tuple[int, int]) -> None:
    """Smaller and larger; without antialiasing a smaller image would be another."""
    images = noise(5, channels, 28, 20)
    found = to_shape(images, (channels, *size))
    assert (found.dtype, tuple(found.shape)) == (torch.uint8, (5, channels, *size))
    theirs = resize(images, list(size), antialias=True)
    assert int((found.int() - theirs.int()).abs().max()) <= 2
    if size == (8, 8):
        aliased = resize(images, list(size), antialias=False)
        assert int((found.int() - aliased.int()).abs().max()) > 50


def test_greys_get_three_equal_channels_and_colours_their_luma() -> None:
    greys, colours = noise(4, 1, 6, 7), noise(4, 3, 6, 7)
    assert torch.equal(to_shape(greys, (3, 6, 7)), greys.expand(-1, 3, -1, -1))
    found = to_shape(colours, (1, 6, 7))
    assert int((found.int() - rgb_to_grayscale(colours).int()).abs().max()) <= 1
    small = to_shape(greys, (3, 3, 3))
    assert torch.equal(small, to_shape(greys, (1, 3, 3)).expand(-1, 3, -1, -1))


def test_images_of_the_shape_stay_and_other_channels_are_refused() -> None:
    images = noise(2, 3, 5, 5)
    assert to_shape(images, (3, 5, 5)) is images
    for channels, wanted in ((4, 3), (3, 2)):
        with pytest.raises(UserError, match="expected 1 or 3 channels"):
            to_shape(noise(2, channels, 5, 5), (wanted, 5, 5))


# Configuration and plan


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of coloured noise, larger than digits and not square."""
    root = tmp_path_factory.mktemp("others")
    for i, image in enumerate(noise(N_POOL, 20, 15, 3)):
        path = root / ("one", "two", "three")[i % 3] / f"{i:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image.numpy()).save(path)
    return root


@pytest.fixture(scope="module")
def others(folder: Path) -> Dataset:
    """That folder as a data set."""
    return load("imagefolder", folder)


def config(pool: str | None = "imagefolder", **extraction: Any) -> Config:
    """A tiny zoo whose stolen models come of knockoff and of Jacobian augmentation."""
    base = tiny()
    chosen = {"attacks": ("knockoff", "jacobian"), "knockoff_pool": pool, "budget": 0.2, **extraction}
    return replace(
        base,
        zoo=replace(base.zoo, architectures=("B", "C")),
        extraction=replace(base.extraction, **chosen),
        controls=ControlConfig((), n_second_hand=1, true_shares=(0.5,), n_mixed=2),
    )


@pytest.fixture(scope="module")
def plan(others: Dataset) -> Plan:
    """Of it."""
    check(config())
    return make_plan(config(), 0, load("digits", None), others)


def thefts(plan: Plan) -> list[tuple[Member, Extracted]]:
    """Every stolen model."""
    return [(m, m.spec.origin) for m in plan.members if isinstance(m.spec.origin, Extracted)]


def stolen(plan: Plan) -> ModelSpec:
    """The first one that was stolen from the victim with other images."""
    return next(m.spec for m, origin in thefts(plan) if m.role == Role.PIRACY and origin.pool)


def test_knockoff_alone_has_the_pool(plan: Plan, others: Dataset) -> None:
    """Of the victim, of other victims, at second hand; whoever mixes true labels in has images of the victim's kind."""
    pool = AttackPool("imagefolder", others.digest)
    with_pool = {(m.role, origin.attack) for m, origin in thefts(plan) if origin.pool == pool}
    without = {(m.role, origin.attack) for m, origin in thefts(plan) if origin.pool is None}
    assert (Role.PIRACY, "knockoff") in with_pool
    assert {role for role, _ in with_pool} >= {Role.PIRACY, Role.SOFT_PIRACY, Role.OTHER_VICTIM_PIRACY}
    assert {attack for _, attack in with_pool} == {"knockoff"}
    assert Role.MIXED_PIRACY not in {role for role, _ in with_pool}
    assert (Role.PIRACY, "jacobian") in without
    assert (Role.MIXED_PIRACY, "knockoff") in without
    assert all(role == Role.MIXED_PIRACY for role, attack in without if attack == "knockoff")


def test_ids_change_for_those_models_alone(plan: Plan, others: Dataset, digits: Dataset) -> None:
    ours, plain = thefts(plan), thefts(make_plan(config(None), 0, digits))
    assert [m.spec.seed for m, _ in ours] == [m.spec.seed for m, _ in plain]
    for (mine, origin), (other, _) in zip(ours, plain, strict=True):
        of_a_thief = mine.role == Role.SECOND_HAND_PIRACY
        assert (mine.spec.id == other.spec.id) == (origin.pool is None and not of_a_thief), describe(mine.spec)
    assert plan.id != make_plan(config(None), 0, digits).id
    changed = replace(others, labels=others.labels.flip(0))
    again = make_plan(config(), 0, digits, changed)
    assert stolen(again).id != stolen(plan).id, "other images of the same name are another pool"
    assert again.id != plan.id, "nor is it the same evaluation"


def test_tables_and_descriptions_name_the_pool(plan: Plan) -> None:
    found = {attack_of(member) for member in plan.members}
    assert found == {"", "jacobian", "knockoff", "knockoff from imagefolder"}
    assert "extracted by knockoff from imagefolder (hard labels)" in describe(stolen(plan))


def test_a_plan_without_its_pool_is_refused(digits: Dataset, others: Dataset) -> None:
    for given in (None, digits):
        with pytest.raises(
            UserError, match=r"expected the images of imagefolder beside .*, got (none|those of digits)"
        ):
            make_plan(config(), 0, digits, given)
    assert make_plan(config(None), 0, digits, others).id == make_plan(config(None), 0, digits).id


@pytest.mark.parametrize(
    ("wrong", "words", "argument"),
    [
        (config(attacks=("cloudleak", "jacobian")), "expected knockoff among the attacks", "extraction.knockoff_pool"),
        (config("digits"), "expected another data set than the victim's", "extraction.knockoff_pool"),
        (config("fashionmnist"), "fashionmnist.*did you mean fashion_mnist", "extraction.knockoff_pool"),
        (config(overlap=0.5), "expected 0 with extraction.knockoff_pool", "extraction.overlap"),
    ],
    ids=["no knockoff", "the victim's own", "unknown", "overlap"],
)
def test_what_cannot_work_is_told_in_one_line(wrong: Config, words: str, argument: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        check(wrong)
    assert caught.value.argument == argument
    assert "\n" not in str(caught.value)


def test_an_enrolment_takes_no_pool(digits: Dataset) -> None:
    with pytest.raises(UserError, match="expected none with an enrolment") as caught:
        plan_enrollment(config(), EnrollConfig(), 0, digits)
    assert caught.value.argument == "extraction.knockoff_pool"


def test_the_pool_is_loaded_by_its_name_alone(others: Dataset) -> None:
    """All of it, at its own size, whatever is cut of the victim's images."""
    asked: list[DataConfig] = []

    def loads(data: DataConfig) -> Dataset:
        asked.append(data)
        return others

    cut = replace(config(), data=DataConfig(n_classes=4))
    assert load_pool(cut, loads) is others
    assert asked == [DataConfig(name="imagefolder")]
    assert load_pool(config(None), loads) is None
    assert config_flags(config(), config(None)) == ["--extraction.knockoff-pool", "imagefolder"]


def test_a_grid_varies_it(digits: Dataset, others: Dataset) -> None:
    def loads(data: DataConfig) -> Dataset:
        return others if data.name == "imagefolder" else digits

    cells = make_cells(parse_grid(["extraction.knockoff_pool=none,imagefolder"]), config(None), 0, loads)
    assert [cell.plan.id for cell in cells] == [
        make_plan(config(None), 0, digits).id,
        make_plan(config(), 0, digits, others).id,
    ]


# Execution


@pytest.fixture(scope="module")
def context(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> TaskContext:
    return TaskContext(Store(str(tmp_path_factory.mktemp("store"))), folder, CPU)


def make(context: TaskContext, spec: ModelSpec | TrajectorySpec) -> dict[str, Any]:
    """Make a model and what it needs; returns its card."""
    for one in dependency_order([spec]):
        if not context.store.has(one.kind, one.id):
            perform_task(context, one)
    return context.store.get(spec.kind, spec.id).info


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


def test_without_the_option_nothing_is_renamed() -> None:
    """Beside the frozen ids: at its default the field is in no id and in no file."""
    plain = tiny_plan()
    spec = members_of(plain.members, Role.PIRACY)[0].spec
    assert isinstance(spec.origin, Extracted)
    assert spec.origin.pool is None
    assert replace(spec, origin=replace(spec.origin, pool=AttackPool("a", "b"))).id != spec.id
    assert preset("digits").extraction.knockoff_pool is None


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
