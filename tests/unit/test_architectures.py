"""The zoo: Table 1 as printed, the contract of every architecture, training that can be repeated and shared out."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.models import ARCHITECTURES, Net, build
from uapfp_dist.models.blackbox import batched_outputs, predict_probabilities
from uapfp_dist.models.mlp import Mlp
from uapfp_dist.models.residual import Residual
from uapfp_dist.models.training import BATCH_SIZES, PEAK_RATES, Trainer, fit
from uapfp_dist.rng import seeded, torch_rng
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.specs import ModelSpec, Recipe, Trained

CPU = torch.device("cpu")
MONOTONE = (nn.ELU, nn.ReLU, nn.PReLU)

TABLE_1 = {
    "A": (nn.ELU, False, 3, 2),
    "B": (nn.ELU, False, 5, 3),
    "C": (nn.ReLU, False, 3, 2),
    "D": (nn.PReLU, False, 3, 4),
    "E": (nn.ReLU, True, 5, 2),
}
"""The paper's [1]..[5]: activation, dropout, kernel size, convolutions."""


@pytest.mark.parametrize("name", sorted(TABLE_1))
def test_architecture_is_that_of_table_1(name: str) -> None:
    """As the paper prints it, counted in the net that is built."""
    activation, dropout, kernel, n_convolutions = TABLE_1[name]
    net = build(name, (1, 28, 28), 10, 8, 0, CPU)
    modules = list(net.modules())
    convolutions = [m for m in modules if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == n_convolutions
    assert {m.kernel_size for m in convolutions} == {(kernel, kernel)}
    assert {kind for kind in MONOTONE if any(isinstance(m, kind) for m in modules)} == {activation}
    assert any(isinstance(m, nn.Dropout) and m.p > 0 for m in modules) == dropout


def test_table_1_leaves_optimizer_and_batch_size_open() -> None:
    """The paper's choices for them, drawn per training."""
    assert set(PEAK_RATES) == {"sgd", "adam", "rmsprop"}
    assert set(BATCH_SIZES) == {64, 128, 256}
    assert set(TABLE_1) <= set(ARCHITECTURES)


@pytest.mark.parametrize("shape", [(1, 8, 8), pytest.param((1, 28, 28), marks=pytest.mark.slow), (3, 12, 10)])
@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_contract_of_every_architecture(name: str, shape: tuple[int, int, int]) -> None:
    """Logits for every class; forward is head after features; normalisation inside; a function of each image alone."""
    net = build(name, shape, 7, 4, 0, CPU).eval()
    images = torch.rand(5, *shape, generator=torch_rng("images"))
    net.normalise_by(images)
    with torch.no_grad():
        features, logits = net.features(images), net(images)
        alone = torch.cat([net(image[None]) for image in images])
    assert features.shape[0] == 5
    assert features.dim() == 2
    assert logits.shape == (5, 7)
    assert bool(logits.isfinite().all())
    torch.testing.assert_close(net.head(features), logits)
    torch.testing.assert_close(alone, logits, rtol=1e-4, atol=1e-5)
    assert float(logits.std(0).max()) > 0.0
    torch.testing.assert_close(predict_probabilities(net, images).sum(1), torch.ones(5))
    torch.testing.assert_close(batched_outputs(net, images, "features"), features, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_normalisation_lives_inside_the_net(name: str) -> None:
    """Scaling pixels and taking the statistics anew gives the same responses: suspects get plain pixels."""
    net = build(name, (3, 8, 8), 4, 4, 0, CPU).eval()
    images = torch.rand(6, 3, 8, 8, generator=torch_rng("images"))
    net.normalise_by(images)
    before = net(images)
    net.normalise_by(0.5 * images + 0.1)
    torch.testing.assert_close(net(0.5 * images + 0.1), before, rtol=1e-3, atol=1e-4)
    assert {"mean", "std"} <= set(net.state_dict())


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_weights_follow_from_the_seed(name: str) -> None:
    """Bit by bit; another seed gives other weights of the same shapes."""
    first, again, other = (build(name, (1, 8, 8), 10, 4, seed, CPU).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)
    assert {key: value.shape for key, value in first.items()} == {k: v.shape for k, v in other.items()}


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (2, 5, 7)], ids=str)
def test_the_controls_are_of_other_families(shape: tuple[int, int, int]) -> None:
    """One adds shortcuts, the other has no convolution; the mean or the last hidden layer has 4 * width features."""
    images = torch.rand(2, *shape, generator=torch_rng("images")).to(memory_format=torch.channels_last)
    nets = {name: build(name, shape, 7, 6, 0, CPU).eval() for name in ("residual", "mlp")}
    for net in nets.values():
        assert net.features(images).shape == (2, 24)
        torch.testing.assert_close(net(images.contiguous()), net(images))
    convolutions = {name: sum(isinstance(m, nn.Conv2d) for m in net.modules()) for name, net in nets.items()}
    assert convolutions == {"residual": 9, "mlp": 0}
    assert sum(isinstance(m, nn.Linear) for m in nets["mlp"].modules()) == 4


def test_a_residual_block_adds_what_it_is_given() -> None:
    """With convolutions that give 0, the first block passes its input on."""
    net = build("residual", (1, 8, 8), 7, 4, 0, CPU).eval()
    assert isinstance(net, Residual)
    block = net.blocks[0]
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
        maps = torch.rand(2, 4, 8, 8, generator=torch_rng("maps"))
        assert torch.equal(block(maps), maps)


def test_a_perceptron_knows_of_no_neighbours() -> None:
    """Pixels in another order, and its first weights likewise: the same responses."""
    net = build("mlp", (2, 4, 4), 7, 4, 0, CPU).eval()
    assert isinstance(net, Mlp)
    images = torch.rand(3, 2, 4, 4, generator=torch_rng("images"))
    order = torch.randperm(32, generator=torch_rng("order"))
    with torch.no_grad():
        before = net(images)
        net.hidden[0].weight.copy_(net.hidden[0].weight[:, order])
        torch.testing.assert_close(net(images.flatten(1)[:, order].view_as(images)), before)


def test_unknown_architecture_lists_the_known_ones() -> None:
    """Whoever mistypes sees what there is."""
    with pytest.raises(UserError, match=r"'Z'.*A, B, C, D, E"):
        build("Z", (1, 8, 8), 10, 4, 0, CPU)


def random_states() -> tuple[bytes, str, str]:
    """The global generators of torch, NumPy and Python."""
    numpy_state = str(np.random.get_state())
    return torch.get_rng_state().numpy().tobytes(), numpy_state, str(random.getstate())


def spec_of(plan: Plan, architecture: str, optimizer: str, samples_seen: int) -> ModelSpec:
    """A model trained on D_v, without a gate."""
    recipe = Recipe(optimizer, 64, samples_seen)
    return ModelSpec(plan.data, architecture, 8, recipe, Trained("victim_set"), 0)


def test_training_leaves_no_trace_and_depends_on_nothing_but_its_spec(digits_plan: Plan, tmp_path: Path) -> None:
    """Dropout included: the same weights whatever ran before, and the global generators as they were."""
    spec = spec_of(digits_plan, "E", "sgd", 1280)
    weights = []
    for run in range(2):
        torch.manual_seed(run)
        before = random_states()
        context = TaskContext(Store(str(tmp_path / str(run))), None, CPU)
        perform_task(context, spec)
        assert random_states() == before
        weights.append(context.store.get("model", spec.id).tensors)
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@pytest.mark.parametrize("name", ["C", "residual", "mlp"])
@pytest.mark.parametrize("optimizer", sorted(PEAK_RATES))
def test_every_optimizer_learns(optimizer: str, name: str, digits_plan: Plan, tmp_path: Path) -> None:
    """Fifteen epochs of digits: most of the images never seen come out right; the card says how many steps it took."""
    spec = spec_of(digits_plan, name, optimizer, 11_250)
    context = TaskContext(Store(str(tmp_path)), None, CPU)
    perform_task(context, spec)
    card = context.store.get("model", spec.id).info
    assert card["accuracy"] > 0.85
    assert card["steps"] == -(-11_250 // 64)
    assert (card["recovery"], card["agreement"], card["queries"]) == (None, None, 0)


def epochs_of(n_images: int, epochs: int) -> tuple[Net, Trainer]:
    """A net without dropout and a trainer whose batches divide the images."""
    net = build("B", (1, 8, 8), 10, 2, 0, CPU)
    return net, Trainer(net, Recipe("adam", 64, epochs * n_images), torch_rng("order"))


def test_instalments_at_epoch_boundaries_equal_one_run(own: Tensor) -> None:
    """The schedule runs over the whole recipe, whoever interrupts it."""
    images = own[:256]
    targets = torch.arange(256) % 10
    whole, trainer = epochs_of(256, 4)
    assert fit(whole, images, targets, trainer.recipe, torch_rng("order")) == 16
    shared, trainer = epochs_of(256, 4)
    for until in (0.25, 0.75, 0.75, 1.0):
        trainer.run(images, targets, until)
        assert trainer.step == round(16 * until)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, shared.state_dict()[key]), key


def test_an_instalment_shows_every_image_equally_often(own: Tensor) -> None:
    """Batches run through permutations: after k epochs each image was seen k times."""
    net, trainer = epochs_of(192, 3)
    seen = torch.zeros(192)

    def count(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        for image in inputs[0]:
            seen[(own[:192] == image).flatten(1).all(1)] += 1

    net.register_forward_pre_hook(count)
    trainer.run(own[:192], torch.arange(192) % 10)
    twins = torch.stack([(own[:192] == image).flatten(1).all(1).sum() for image in own[:192]])
    assert torch.equal(seen, 3.0 * twins)


def test_soft_targets_are_learnt_as_they_are(own: Tensor) -> None:
    """(N, C) probabilities: one-hot ones teach what labels teach."""
    labels = torch.arange(128) % 10
    nets = []
    for targets in (labels, nn.functional.one_hot(labels, 10).float()):
        net, trainer = epochs_of(128, 2)
        trainer.run(own[:128], targets)
        nets.append(net(own[:128]))
    torch.testing.assert_close(nets[0], nets[1], rtol=1e-3, atol=1e-4)


def test_zoos_are_matched_in_images_seen(digits_plan: Plan) -> None:
    """Under-trained homologous models would inflate every AUC: all models see equally many images."""
    seen = {m.spec.recipe.samples_seen for m in digits_plan.members}
    assert seen == {30 * 750}
    batch_sizes = {m.spec.recipe.batch_size for m in digits_plan.members}
    assert batch_sizes == set(BATCH_SIZES)


def test_dropout_draws_from_the_private_generator() -> None:
    """`seeded` gives it a state of its own and puts the global one back."""
    net = build("E", (1, 8, 8), 10, 4, 0, CPU).train()
    images = torch.rand(8, 1, 8, 8, generator=torch_rng("images"))
    before = torch.get_rng_state()
    outputs = []
    for seed in (1, 1, 2):
        with seeded(seed, CPU):
            outputs.append(net(images))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
