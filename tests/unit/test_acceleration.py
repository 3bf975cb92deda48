"""What is different on a GPU: the same numbers, and nothing in a training step that waits for the device.

The device `meta` stands for a GPU: it computes shapes alone, and a number that the host wanted of it would be an error.
"""

import pickle
from contextlib import nullcontext
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from uapfp_dist.acceleration import NONE, Acceleration, accelerated, acceleration
from uapfp_dist.data import Dataset
from uapfp_dist.fingerprints.blocks import PAPER
from uapfp_dist.fingerprints.probe import in_turn
from uapfp_dist.fingerprints.probe_data import Probe
from uapfp_dist.fingerprints.probe_on_device import on_device
from uapfp_dist.fingerprints.querying import query_model
from uapfp_dist.models import Net, build, training
from uapfp_dist.models.batches import AHEAD, batches
from uapfp_dist.models.training import Trainer, fit
from uapfp_dist.pixels import as_float, channel_statistics
from uapfp_dist.rng import seeded, torch_rng
from uapfp_dist.tasks.specs import Recipe

CPU, META = torch.device("cpu"), torch.device("meta")
ALL = Acceleration()


class Waits(TorchDispatchMode):
    """Counts what a host waits for, or sends, while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0
        """Read from a tensor by the host."""
        self.copies = 0
        """Between the CPU and the other device."""

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = op(*args, **(kwargs or {}))
        if op is torch.ops.aten._local_scalar_dense.default:
            self.numbers += 1
        if op in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
            source = args[0] if op is torch.ops.aten._to_copy.default else args[1]
            self.copies += source.device != found.device
        return found


class Plain(torch.optim.Optimizer):
    """An optimizer that runs on any device."""

    def __init__(self, net: nn.Module, rate: Tensor | float) -> None:
        super().__init__(net.parameters(), {"lr": rate})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.sub_(parameter.grad * group["lr"])


def waits_of(chosen: Acceleration, steps: int, monkeypatch: pytest.MonkeyPatch) -> Waits:
    """Of a training with augmentation, its images on a device that is no CPU."""
    monkeypatch.setattr(training, "make_optimizer", lambda net, name, rate: Plain(net, 1.0 if rate is None else rate))
    monkeypatch.setattr(training, "autocast", lambda device, precision: nullcontext())
    monkeypatch.setattr("torch.nn.utils.clip_grad._device_has_foreach_support", lambda device: True)
    images = torch.zeros(100, 1, 8, 8, dtype=torch.uint8, device=META)
    net = build("E", (1, 8, 8), 10, 4, 0, CPU).to(META)
    with accelerated(chosen):
        trainer = Trainer(net, Recipe("sgd", 64, 64 * steps, augment=True), torch_rng("order"))
        with Waits() as waits:
            trainer.run(images, torch.zeros(100, dtype=torch.long, device=META))
    assert trainer.step == steps
    return waits


def test_no_step_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """One copy for many steps, and no number read back."""
    for steps, copies in ((40, 1), (AHEAD + 4, 2)):
        waits = waits_of(ALL, steps, monkeypatch)
        assert (waits.copies, waits.numbers) == (copies, 0)


def test_the_check_of_waiting_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    assert waits_of(replace(ALL, device_order=False), 40, monkeypatch).copies >= 40
    with Waits() as waits:
        float(torch.ones(()))
        torch.ones(2).to(META)
    assert (waits.numbers, waits.copies) == (1, 1)


def test_nothing_differs_on_a_cpu_and_everything_is_switched() -> None:
    assert acceleration(CPU) == NONE
    assert acceleration(torch.device("cuda")) == Acceleration()
    assert not any(getattr(NONE, field.name) for field in fields(NONE))
    with accelerated(replace(ALL, cuda_graph=False)):
        assert acceleration(CPU) == replace(ALL, cuda_graph=False)
    assert acceleration(CPU) == NONE


@pytest.mark.parametrize("ahead", [2, 7, 1000])
@pytest.mark.parametrize("augmented", [None, (8, 9)])
def test_batches_drawn_ahead_are_those_drawn_one_by_one(
    ahead: int, augmented: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is the generator afterwards."""
    found, states = [], []
    for n in (1, ahead):
        rng = torch_rng("order")
        device = SimpleNamespace(type="cpu" if n == 1 else "other")  # which is the CPU all the same
        monkeypatch.setattr(Tensor, "to", lambda tensor, *_, **__: tensor)
        found.append(list(batches(50, 23, 16, rng, device, augmented, n)))  # type: ignore[arg-type]
        states.append(rng.get_state())
    assert len(found[0]) == len(found[1]) == 23
    for one, other in zip(*found, strict=True):
        assert torch.equal(one.index, other.index)
        assert (one.moves is None) == (other.moves is None) == (augmented is None)
        for move, sent in zip(one.moves or (), other.moves or (), strict=True):
            assert move.dtype == sent.dtype
            assert torch.equal(move, sent)
    assert torch.equal(*states)


def test_batches_of_few_images_are_smaller() -> None:
    for device in (CPU, META):
        found = batches(5, 9, 64, torch_rng("order"), device, (8, 8), 4)
        # each takes all that there is: nothing is left to be joined
        assert [len(batch.index) for batch in found] == [5] * 9


@pytest.mark.parametrize("name", ["A", "B", "C", "D", "E", "resnet18"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_a_net_trained_with_every_switch_is_the_same(name: str, optimizer: str, digits: Dataset) -> None:
    """Up to the rate's rounding to float32: the same order, augmentation and images."""
    index, weights = torch.arange(100), []
    for chosen in (NONE, ALL):
        with accelerated(chosen), seeded(0, CPU):
            net = build(name, (1, 8, 8), 10, 4, 0, CPU)
            net.normalise_by(digits.pixels(index))
            images = digits.to_train_on(index, CPU)
            assert images.dtype == (torch.uint8 if chosen.byte_images else torch.float32)
            steps = 3 if name == "resnet18" else 30
            fit(net, images, digits.labels[index], Recipe(optimizer, 64, 64 * steps, augment=True), torch_rng("order"))
        weights.append(net.state_dict())
    for key, tensor in weights[0].items():
        # a rate in float32 is not the same number as in float64
        torch.testing.assert_close(weights[1][key], tensor, rtol=1e-3, atol=1e-4)


def test_every_8_bit_image_is_the_same_number(digits: Dataset) -> None:
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(as_float(every), every.float() / 255.0)
    assert torch.equal(as_float(every).flatten(), (torch.arange(256) / 255.0))
    floats = torch.rand(2, 3)
    assert as_float(floats) is floats
    with accelerated(ALL):
        assert torch.equal(as_float(digits.to_train_on(torch.tensor([5, 3]), CPU)), digits.pixels(torch.tensor([5, 3])))


def test_statistics_of_bytes_are_those_of_the_images() -> None:
    images = torch.randint(256, (40, 3, 9, 8), generator=torch_rng("images")).to(torch.uint8)
    mean, std = channel_statistics(images)
    plain = as_float(images).double()
    torch.testing.assert_close(mean.double(), plain.mean((0, 2, 3), keepdim=True), rtol=1e-6, atol=0)
    torch.testing.assert_close(std.double(), plain.std((0, 2, 3), keepdim=True), rtol=1e-6, atol=0)
    nets = [build("A", (3, 9, 8), 10, 2, 0, CPU) for _ in range(2)]
    nets[0].normalise_by(images)
    nets[1].normalise_by(as_float(images))
    torch.testing.assert_close(nets[0].std, nets[1].std)
    constant = build("A", (3, 9, 8), 10, 2, 0, CPU)
    constant.normalise_by(torch.full((4, 3, 9, 8), 7, dtype=torch.uint8))
    assert float(constant.std.min()) == pytest.approx(1e-3)


def test_images_lie_on_a_device_once_and_travel_without_it(digits: Dataset) -> None:
    dataset = replace(digits)
    with accelerated(ALL):
        first, again = (dataset.to_train_on(torch.arange(9), META) for _ in range(2))
        assert dataset.pixels(torch.arange(9), META).dtype == torch.float32
    assert (first.device, first.dtype, again.shape) == (META, torch.uint8, (9, 1, 8, 8))
    assert list(dataset._resident) == [META]
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy._resident == {}
    assert copy.digest == digits.digest


def test_of_a_large_data_set_only_what_is_asked_for_lies_on_a_device(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = digits.images.nbytes
    for limit, resident in ((whole, [META]), (whole - 1, [])):
        monkeypatch.setattr("uapfp_dist.data.dataset.RESIDENT_BYTES", limit)
        dataset = replace(digits)
        with accelerated(ALL):
            found = dataset.to_train_on(torch.arange(9), META)
        assert (found.device, found.dtype, found.shape) == (META, torch.uint8, (9, 1, 8, 8))
        assert list(dataset._resident) == resident


@pytest.mark.parametrize("round_to_8_bits", [False, True])
def test_a_probe_on_the_device_asks_the_same(round_to_8_bits: bool, victim: Net, own: Tensor) -> None:
    views = torch.tensor([[0, 1, 2], [2, 3, 1]])
    v = 0.3 * torch.randn(2, 1, 8, 8, generator=torch_rng("v"))
    natural = own[4:6]
    probe = Probe(own[:4], views, {PAPER: in_turn(v, views)}, natural, torch.zeros(2), 1, round_to_8_bits)
    found = []
    for chosen in (NONE, ALL):
        with accelerated(chosen):
            found.append(query_model(victim, probe, CPU))
    assert found[0].blocks.keys() == found[1].blocks.keys()
    assert all(torch.equal(found[0].blocks[key], found[1].blocks[key]) for key in found[0].blocks)
    moved = on_device(probe, META)
    assert {moved.points.device, moved.natural.device, moved.blocks[PAPER].perturbations.device} == {META}
    assert {moved.views.device, moved.blocks[PAPER].gather.device} == {CPU}
