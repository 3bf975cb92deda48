"""Fine-tuning: which weights move, at which rate, and what is learnt."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from modified_nets import RECIPE, Normed, accuracy, modified, same, state
from torch import Tensor, nn

from uapfp_dist.models import Net
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.modifications import AttackerData
from uapfp_dist.tasks.modification_specs import (
    FineTune,
)


@pytest.mark.parametrize("epochs", [1.0, 10.0])
@pytest.mark.parametrize("layers", ["last", "new_last"])
def test_only_the_last_layer_moves(layers: Any, epochs: float, normed: Net, data: AttackerData) -> None:
    """Everything else bit for bit, BatchNorm statistics included; both its weight and its bias do move."""
    before, after = state(normed), state(modified(normed, FineTune(epochs, layers), data))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"last.weight", "last.bias"}


@pytest.mark.parametrize("layers", ["all", "last"])
def test_every_fine_tuning_keeps_to_the_nets_own_rate(layers: Any, normed: Net, data: AttackerData) -> None:
    """A net that asks for no rate at all learns nothing, whichever part of it is trained."""

    class Still(Normed):
        rate_scale: ClassVar[Mapping[str, float]] = {RECIPE.optimizer: 0.0}

    still = Still()
    still.load_state_dict(normed.state_dict())
    tuned = modified(still, FineTune(2.0, layers), data)
    assert torch.equal(tuned.last.weight, normed.last.weight)


def test_fine_tuning_all_moves_all(normed: Net, data: AttackerData) -> None:
    """Every weight and the statistics of BatchNorm; only the pixels' normalisation stays."""
    before, after = state(normed), state(modified(normed, FineTune(1.0), data))
    stayed = {name for name in before if torch.equal(before[name], after[name])}
    assert stayed == {"mean", "std"}


def test_fine_tuning_learns_the_attackers_images(victim: Net, data: AttackerData) -> None:
    """With shuffled labels as with true ones, and faster with more epochs: it learns the labels."""
    shuffled = replace(data, labels=(data.labels + 1) % 10)

    def loss(net: Net) -> float:
        return float(F.nll_loss(predict_probabilities(net, shuffled.images).log(), shuffled.labels))

    losses = [loss(modified(victim, FineTune(epochs), shuffled)) for epochs in (2.0, 10.0, 30.0)]
    assert loss(victim) > losses[0] > losses[1] > losses[2]


def test_fine_tuning_keeps_utility(victim: Net, data: AttackerData, held_out: Tensor, held_out_labels: Tensor) -> None:
    """The paper's ten epochs on true labels, on unseen images: utility stays, and so do most responses."""
    tuned = modified(victim, FineTune(), replace(data, images=held_out, labels=held_out_labels))
    rest, labels = data.images, data.labels
    assert accuracy(tuned, rest, labels) > accuracy(victim, rest, labels) - 0.03
    assert accuracy(tuned, rest, predict_probabilities(victim, rest).argmax(1)) > 0.9


def test_a_new_last_layer_forgets_the_old_one(victim: Net, data: AttackerData) -> None:
    """Whatever the old one was."""
    other = copy.deepcopy(victim)
    nn.init.normal_(other.last.weight)  # type: ignore[arg-type, union-attr]
    one, two = (modified(net, FineTune(2.0, "new_last"), data) for net in (victim, other))
    assert same(state(one), state(two))
    one, two = (modified(net, FineTune(2.0, "last"), data) for net in (victim, other))
    assert not same(state(one), state(two))
