"""Knockoff by an attacker who has true labels of the pool: which images are sent, and what is learnt."""

import pytest
import torch
from extractions import CPU, CRAFTING, TOP3, Recorder, RecordingTrainer
from torch import Tensor

from uapfp_dist.attacks import ATTACKS, TrueLabels, extract
from uapfp_dist.errors import UserError
from uapfp_dist.models import Net, build
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.models.training import Trainer
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.specs import Recipe


def mixed(
    victim: Net, pool: Tensor, labels: ResponseFormat, true_labels: TrueLabels | None, budget: int = 60
) -> tuple[Recorder, RecordingTrainer]:
    """Ten steps of knockoff by an attacker who has true labels of the pool."""
    trainer = RecordingTrainer(build("C", (1, 8, 8), 10, 2, 0, CPU), Recipe("adam", 64, 640), torch_rng("mixed"))
    box = Recorder(victim, budget, labels)
    knockoff = ATTACKS["knockoff"]
    extract(box, pool, trainer, knockoff, rounds=0, natural_share=1.0, true_labels=true_labels)
    return box, trainer


@pytest.fixture(scope="module")
def true(pool: Tensor) -> Tensor:
    """Labels of the pool that no model gives: by brightness."""
    return (pool.flatten(1).sum(1) * 1000).long() % 10


@pytest.mark.parametrize("labels", [LABEL, PROBABILITIES, TOP3], ids=str)
def test_without_true_labels_nothing_changes(labels: ResponseFormat, victim: Net, pool: Tensor, true: Tensor) -> None:
    """Bit for bit what a random order of the pool, the victim's responses and the trainer give."""
    net, rng = build("C", (1, 8, 8), 10, 2, 0, CPU), torch_rng("mixed")
    images = pool[torch.randperm(len(pool), generator=rng)[:60]]
    responses = labels.respond(predict_probabilities(victim, images))
    targets = responses / responses.sum(1, keepdim=True) if labels == TOP3 else responses
    net.normalise_by(images)
    Trainer(net, Recipe("adam", 64, 640), rng).run(images, targets)
    for none in (None, TrueLabels(true, 0.0)):
        box, trainer = mixed(victim, pool, labels, none)
        assert torch.equal(torch.cat(box.batches), images)
        assert torch.equal(trainer.rng.get_state(), rng.get_state())
        for name, weights in net.state_dict().items():
            assert torch.equal(weights, trainer.net.state_dict()[name]), name


@pytest.mark.parametrize("share", [0.004, 0.25, 0.5, 0.999])
@pytest.mark.parametrize("labels", [LABEL, PROBABILITIES, TOP3], ids=str)
def test_a_mixing_attacker_sends_the_other_images_only(
    labels: ResponseFormat, share: float, victim: Net, pool: Tensor, true: Tensor
) -> None:
    """Same images in the same order at every share; true labels where none is sent, responses elsewhere."""
    _, alone = mixed(victim, pool, labels, None)
    box, trainer = mixed(victim, pool, labels, TrueLabels(true, share))
    n_true = {0.004: 0, 0.25: 15, 0.5: 30, 0.999: 59}[share]
    images, targets = trainer.data
    assert torch.equal(images, alone.data[0])
    assert torch.equal(torch.cat(box.batches), images[n_true:])
    assert box.queries == 60 - n_true
    torch.testing.assert_close(targets[n_true:], alone.data[1][n_true:])  # a batch of another size: other last bits
    assert (targets.dtype, targets.shape) == (alone.data[1].dtype, alone.data[1].shape)
    own = true[[int((pool == image).flatten(1).all(1).nonzero()[0]) for image in images[:n_true]]]
    if labels == LABEL:
        assert torch.equal(targets[:n_true], own)
    else:
        assert torch.equal(targets[:n_true].argmax(1), own)
        assert torch.equal(targets[:n_true].max(1).values, torch.ones(n_true))
        assert torch.equal(targets[:n_true].sum(1), torch.ones(n_true))
    one, other = alone.net.state_dict(), trainer.net.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one) == (n_true == 0)


def test_a_mixing_attacker_sends_at_least_one_image(victim: Net, pool: Tensor, true: Tensor) -> None:
    """Whatever the share: without a response nothing would be stolen."""
    for budget in (1, 2, 10):
        assert mixed(victim, pool, LABEL, TrueLabels(true, 0.99), budget)[0].queries == 1


def test_true_labels_are_refused_where_there_are_none(victim: Net, pool: Tensor, true: Tensor) -> None:
    """Of crafted images, before any query; and a share at which nothing is stolen."""
    for name in CRAFTING:
        trainer = Trainer(build("C", (1, 8, 8), 10, 2, 0, CPU), Recipe("adam", 64, 640), torch_rng("mixed"))
        box, half = Recorder(victim, 60, LABEL), TrueLabels(true, 0.5)
        with pytest.raises(UserError, match=rf"^true_share: expected 0 for {name}, .*, got 0\.5; .*$"):
            extract(box, pool, trainer, ATTACKS[name], rounds=1, natural_share=0.5, true_labels=half)
        assert box.queries == 0
    for share in (-0.1, 1.0, 1.5, float("nan")):
        with pytest.raises(UserError, match=r"^true_share: expected a share of at least 0 and below 1, got .*$"):
            TrueLabels(true, share)
