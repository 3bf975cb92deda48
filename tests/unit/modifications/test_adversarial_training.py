"""Adversarial training: it goes on where it stopped, moves the boundaries away, and learns the labels it is given."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from modified_nets import RECIPE, accuracy, modified, same, state
from torch import Tensor, nn

from uapfp_dist.models import Net
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.modifications import AttackerData, adversarial
from uapfp_dist.perturbations.deepfool import deepfool
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.modification_specs import (
    AdversarialTraining,
)


def test_plain_sgd_goes_on_where_it_stopped(normed: Net, data: AttackerData, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five iterations and five more are ten, bit for bit, when the images drawn are the same."""
    batches = torch.randint(len(data.images), (10, 8), generator=torch_rng("draws"))
    still = copy.deepcopy(normed)
    for module in still.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0

    def run(modification: AdversarialTraining, net: Net) -> Net:
        rows = iter(batches[modification.start :])
        monkeypatch.setattr(adversarial.torch, "randint", lambda *_, **__: next(rows))
        attacker = adversarial.AttackerContext(data, RECIPE, torch_rng(0), still, None)
        return adversarial.adversarial_training(copy.deepcopy(net), modification, attacker).eval()

    half = AdversarialTraining(5, batch_size=8)
    whole = run(replace(half, iterations=10), still)
    halves = run(replace(half, start=5), run(half, still))
    assert same(state(whole), state(halves))


def test_adversarial_training_moves_the_boundaries_away(victim: Net, data: AttackerData, held_out: Tensor) -> None:
    """The old adversarial examples lose their hold, and new ones have further to go."""
    trained = modified(victim, AdversarialTraining(30), data)
    own = predict_probabilities(victim, held_out).argmax(1)
    old = held_out + deepfool(victim, held_out).delta
    kept = [float((predict_probabilities(net, old).argmax(1) == own).double().mean()) for net in (victim, trained)]
    assert kept[0] < 0.2
    assert kept[1] > 0.6
    norms = [deepfool(net, held_out).delta.flatten(1).norm(dim=1).median() for net in (victim, trained)]
    assert norms[1] > 1.1 * norms[0]


def test_examples_are_crafted_in_evaluation_mode(normed: Net, data: AttackerData) -> None:
    """Of all the forward passes of an iteration, BatchNorm learns from the step's alone."""
    trained = modified(normed, AdversarialTraining(3, batch_size=16), data)
    counts = [net.state_dict()["norm.num_batches_tracked"] for net in (normed, trained)]
    assert int(counts[1] - counts[0]) == 3


def test_own_labels_are_the_teachers(victim: Net, data: AttackerData) -> None:
    """Not the truth, not the current model's: with a teacher that calls everything class 3, so does the student."""
    teacher = copy.deepcopy(victim)
    nn.init.zeros_(teacher.last.weight)  # type: ignore[arg-type, union-attr]
    teacher.last.bias.data = F.one_hot(torch.tensor(3), 10).float()  # type: ignore[union-attr]
    modification = AdversarialTraining(20, start=30, batch_size=16)
    trained = modified(victim, modification, data, teacher=teacher)
    assert accuracy(trained, data.images, torch.full_like(data.labels, 3)) > 0.9
    true = modified(victim, replace(modification, labels="true"), data, teacher=teacher)
    assert accuracy(true, data.images, data.labels) > 0.9
    with pytest.raises(ValueError, match="teacher"):
        modified(victim, modification, data)


def test_true_labels_are_those_of_the_data(victim: Net, data: AttackerData) -> None:
    """With true labels all replaced by class 3, true-label training follows them and own-label training does not."""
    threes = replace(data, labels=torch.full_like(data.labels, 3))
    share = {
        labels: accuracy(
            modified(victim, AdversarialTraining(20, labels=labels, batch_size=16), threes),
            threes.images,
            threes.labels,
        )
        for labels in ("own", "true")
    }
    assert share["true"] > 0.9
    assert share["own"] < 0.2
