"""Training: what a batch is, what augmentation may do to it, what nets with batch normalisation need."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uapfp_dist.data import load
from uapfp_dist.errors import UserError
from uapfp_dist.models import Net, build
from uapfp_dist.models.augment import draw_moves, shift_and_mirror
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.models.training import CLIP, PEAK_RATES, WARM_UP, Trainer, fit, make_optimizer
from uapfp_dist.rng import seeded, torch_rng
from uapfp_dist.tasks.specs import Recipe

CPU = torch.device("cpu")


def variants(image: Tensor) -> list[Tensor]:
    """Every image that augmentation may make of one (c, h, w): padded by reflection, mirrored, cut out."""
    _, height, width = image.shape
    up, left = height // 8, width // 8
    padded = np.pad(image.numpy(), ((0, 0), (up, up), (left, left)), mode="reflect")
    cuts = [padded[:, y : y + height, x : x + width] for y in range(2 * up + 1) for x in range(2 * left + 1)]
    return [torch.from_numpy(np.ascontiguousarray(turned)) for cut in cuts for turned in (cut, cut[:, :, ::-1])]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 9), (2, 7, 7)])
def test_augmentation_makes_every_shifted_and_mirrored_image_and_no_other(shape: tuple[int, int, int]) -> None:
    """Equal to cutting it out of the padded image one by one; all of them come, about equally often."""
    image = torch.rand(shape, generator=torch_rng("image"))
    allowed = torch.stack(variants(image))
    made = shift_and_mirror(image.expand(4000, -1, -1, -1), draw_moves(4000, *shape[1:], torch_rng("augment")))
    hits = (made[:, None] == allowed).flatten(2).all(2)
    assert torch.equal(hits.sum(1), torch.ones(4000, dtype=torch.long))
    expected = 4000 / len(allowed)
    assert float((hits.sum(0) - expected).abs().max()) < 5 * math.sqrt(expected)


def test_augmentation_keeps_batch_and_follows_its_generator() -> None:
    """Row i stays image i; the same generator makes the same batch; the input is left as it was."""
    images = torch.rand(50, 3, 16, 16, generator=torch_rng("images"))
    before = images.clone()
    made, again, other = (
        shift_and_mirror(images, draw_moves(50, 16, 16, torch_rng("augment", seed))) for seed in (0, 0, 1)
    )
    assert torch.equal(images, before)
    assert torch.equal(made, again)
    assert not torch.equal(made, other)
    for image, changed in zip(images, made, strict=True):
        assert any(torch.equal(changed, variant) for variant in variants(image))


def plainly(net: Net, images: Tensor, targets: Tensor, recipe: Recipe, rng: torch.Generator) -> None:
    """What training without augmentation has always been, step by step."""
    optimizer, steps = make_optimizer(net, recipe.optimizer), math.ceil(recipe.samples_seen / recipe.batch_size)
    order: list[int] = []
    for step in range(1, steps + 1):
        if len(order) < recipe.batch_size:
            order += torch.randperm(len(images), generator=rng).tolist()
        batch, order = order[: recipe.batch_size], order[recipe.batch_size :]
        scale = min(step / steps / WARM_UP, (1.0 - step / steps) / (1.0 - WARM_UP) + 1e-3)
        optimizer.param_groups[0]["lr"] = PEAK_RATES[recipe.optimizer] * math.sqrt(recipe.batch_size / 128) * scale
        optimizer.zero_grad()
        F.cross_entropy(net(images[batch]), targets[batch]).backward()
        nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        optimizer.step()


@pytest.mark.parametrize("optimizer", sorted(PEAK_RATES))
def test_training_of_table_1_is_what_stored_models_were_made_by(optimizer: str, own: Tensor) -> None:
    """Bit by bit, dropout included: a model made today equals the one in the store."""
    targets = torch.arange(200) % 10
    recipe = Recipe(optimizer, 64, 1000)
    nets, generators = [], []
    for train in (plainly, fit):
        net, rng = build("E", (1, 8, 8), 10, 4, 0, CPU).train(), torch_rng("order")
        with seeded(1, CPU):
            train(net, own[:200], targets, recipe, rng)
        nets.append(net.state_dict())
        generators.append(rng.get_state())
    assert all(torch.equal(nets[0][key], nets[1][key]) for key in nets[0])
    assert torch.equal(*generators)


def batches_of(trainer: Trainer, images: Tensor) -> list[Tensor]:
    """What the net is shown in a whole training run."""
    seen: list[Tensor] = []
    handle = trainer.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    trainer.run(images, torch.arange(len(images)) % 10)
    handle.remove()
    return seen


def test_augmentation_is_for_those_who_ask(own: Tensor) -> None:
    """Then every image shown is a changed training image; all come from the training images, in equal numbers."""
    images = own[:64]
    net = build("A", (1, 8, 8), 10, 2, 0, CPU)
    plain = torch.cat(batches_of(Trainer(net, Recipe("sgd", 32, 64), torch_rng("order")), images))
    augmented = torch.cat(batches_of(Trainer(net, Recipe("sgd", 32, 640, augment=True), torch_rng("order")), images))
    assert all(bool((images == image).flatten(1).all(1).any()) for image in plain)
    allowed = torch.stack([torch.stack(variants(image)) for image in images])
    came_from = torch.stack([(allowed == image).flatten(2).all(2).any(1) for image in augmented])
    assert bool(came_from.any(1).all())
    assert float((augmented == images.repeat(10, 1, 1, 1)).flatten(1).all(1).float().mean()) < 0.5
    assert int(came_from.sum(0).min()) >= 10


@pytest.mark.parametrize(("n_images", "batch_size"), [(65, 64), (2, 64), (3, 2), (33, 32)])
def test_no_batch_of_one_image(n_images: int, batch_size: int, own: Tensor) -> None:
    """Batch normalisation has no variance of one image: the last image of an epoch joins the next epoch."""
    trainer = Trainer(build("A", (1, 8, 8), 10, 2, 0, CPU), Recipe("sgd", batch_size, 7 * n_images), torch_rng("order"))
    assert min(len(batch) for batch in batches_of(trainer, own[:n_images])) >= 2


@pytest.mark.parametrize(("n_images", "batch_size"), [(1, 64), (8, 1)])
def test_nets_with_batch_normalisation_refuse_single_images(n_images: int, batch_size: int, own: Tensor) -> None:
    """In one line, before anything is trained; nets without it take them."""
    recipe, targets = Recipe("sgd", batch_size, 8), torch.arange(n_images)
    with pytest.raises(UserError, match="at least 2 images") as caught:
        fit(build("googlenet", (1, 8, 8), 10, 0, 0, CPU), own[:n_images], targets, recipe, torch_rng("order"))
    assert "\n" not in str(caught.value)
    fit(build("A", (1, 8, 8), 10, 2, 0, CPU), own[:n_images], targets, recipe, torch_rng("order"))


def test_a_net_and_a_recipe_scale_the_learning_rate(own: Tensor) -> None:
    """`rate_scale` multiplies the rate of every step with its optimizer; nets of Table 1 have none."""
    rates = []
    for of_net, of_recipe in (({}, 1.0), ({"adam": 9.0, "sgd": 0.25}, 1.0), ({}, 0.3), ({"sgd": 0.5}, 0.5)):
        net = build("A", (1, 8, 8), 10, 2, 0, CPU)
        assert net.rate_scale == {}
        net.rate_scale = of_net
        trainer = Trainer(net, Recipe("sgd", 64, 640, rate_scale=of_recipe), torch_rng("order"))
        trainer.run(own[:64], torch.arange(64) % 10, 0.3)
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([scale * rates[0] for scale in (1.0, 0.25, 0.3, 0.25)])


def test_who_asks_is_told_of_every_step(own: Tensor) -> None:
    """By its number, over all instalments, and training goes on as if nobody watched."""
    weights, steps = [], []
    for after_step in (None, steps.append):
        net = build("A", (1, 8, 8), 10, 2, 0, CPU)
        trainer = Trainer(net, Recipe("sgd", 64, 640), torch_rng("order"))
        trainer.run(own[:64], torch.arange(64) % 10, 0.5, after_step)
        trainer.run(own[:64], torch.arange(64) % 10, 1.0, after_step)
        weights.append(net.state_dict())
    assert steps == list(range(1, 11))
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["A", "resnet18"])
def test_mixed_precision_on_cuda_ends_at_the_net(name: str) -> None:
    """Weights, responses and gradients stay float32; the loss falls; convolutions run channels last."""
    device = torch.device("cuda")
    images = torch.rand(256, 3, 16, 16, generator=torch_rng("images")).to(device)
    labels = (torch.arange(256) % 2).to(device)
    images[labels == 1] *= 0.5
    net = build(name, (3, 16, 16), 2, 8, 0, device)
    seen: list[torch.dtype] = []
    handle = net.last.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    fit(net, images, labels, Recipe("adam", 64, 2560, augment=True), torch_rng("order"))
    handle.remove()
    assert set(seen) == {torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32}
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}
    images.requires_grad_()
    logits = net(images)
    logits.sum().backward()
    assert (logits.dtype, images.grad.dtype if images.grad is not None else None) == (torch.float32, torch.float32)
    assert float((logits.argmax(1) == labels).float().mean()) > 0.9
    weights = [module.weight for module in net.modules() if isinstance(module, nn.Conv2d)]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


@pytest.fixture(scope="module")
def small_cifar() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Airplanes and automobiles at 16x16: 1,000 to learn from, 400 to judge by."""
    root = Path(os.environ.get("UAPFP_DATA", ""))
    if not os.environ.get("UAPFP_DATA") or not (root / "cifar10").is_dir():
        pytest.skip("needs cifar10/{train,test} in the folder $UAPFP_DATA")
    data = load("cifar10", root, 2)
    assert data.n_train is not None
    shuffled = torch.randperm(data.n_train, generator=torch_rng("cifar"))[:1000]
    held_out = torch.arange(data.n_train, len(data.labels), 5)
    small = [F.avg_pool2d(data.pixels(index), 2) for index in (shuffled, held_out)]
    return small[0], data.labels[shuffled], small[1], data.labels[held_out]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "vgg16"])
def test_nets_of_torchvision_learn(name: str, small_cifar: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    """Forty steps of Adam: two classes separated far better than by chance (standard deviation .025)."""
    images, labels, held_out, truth = small_cifar
    with seeded(0, CPU):
        net = build(name, (3, 16, 16), 2, 0, 0, CPU)
        net.normalise_by(images)
        fit(net, images, labels, Recipe("adam", 64, 40 * 64, augment=True), torch_rng("order"))
    assert float((predict_probabilities(net, held_out).argmax(1) == truth).float().mean()) > 0.7
