"""Pruning: exactly the smallest weights become zero, and stay so while the others recover."""

import copy

import pytest
import torch
import torch.nn.functional as F
from modified_nets import modified, same, state
from torch import Tensor, nn

from uapfp_dist.models import Net
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.modifications import AttackerData
from uapfp_dist.tasks.modification_specs import (
    Prune,
)
from uapfp_dist.tasks.specs import Recipe


def weights_of(net: Net) -> Tensor:
    """All weights of convolutions and linear layers in one row."""
    return torch.cat([m.weight.flatten() for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]).detach()


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.999])
def test_pruning_zeroes_exactly_the_smallest_magnitudes(share: float, normed: Net, data: AttackerData) -> None:
    """Over the whole net; what is left and all that is no such weight stays bit for bit."""
    pruned = modified(normed, Prune(share), data)
    old, new = weights_of(normed), weights_of(pruned)
    pruned_away = new == 0.0
    assert int(pruned_away.sum()) == round(share * len(old))
    assert float(old[pruned_away].abs().max()) <= float(old[~pruned_away].abs().min())
    assert torch.equal(new[~pruned_away], old[~pruned_away])
    kinds = (nn.Conv2d, nn.Linear)
    names = {f"{n}.weight" for n, m in normed.named_modules() if isinstance(m, kinds)}
    rest = [{n: t for n, t in state(net).items() if n not in names} for net in (normed, pruned)]
    assert {"norm.weight", "stem.bias", "norm.running_mean"} <= rest[0].keys()
    assert same(*rest)


def test_equal_magnitudes_are_pruned_to_the_exact_share(victim: Net, data: AttackerData) -> None:
    level = copy.deepcopy(victim)
    for module in level.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.constant_(module.weight, -0.1)
    new = weights_of(modified(level, Prune(0.3), data))
    assert int((new == 0.0).sum()) == round(0.3 * len(new))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_recovery_holds_the_zeros_and_recovers(optimizer: str, normed: Net, data: AttackerData) -> None:
    """Momentum or not; all other weights move, and the loss on ATTACK falls."""
    bare = modified(normed, Prune(0.8), data)
    recovered = modified(normed, Prune(0.8, recovery_epochs=5.0), data, recipe=Recipe(optimizer, 64, 1))
    zeros, after = weights_of(bare) == 0.0, weights_of(recovered)
    assert bool((after[zeros] == 0.0).all())
    assert float((after[~zeros] != weights_of(bare)[~zeros]).double().mean()) > 0.8
    losses = [
        float(F.nll_loss(predict_probabilities(net, data.images).log(), data.labels)) for net in (bare, recovered)
    ]
    assert losses[1] < losses[0]
