"""Fine-tuning: training goes on, gently, on the attacker's own labelled images (paper Section 5.4)."""

from dataclasses import replace

import torch
from torch import nn

from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.models.blackbox import layer
from uapfp_dist.models.net import Net
from uapfp_dist.models.training import Trainer
from uapfp_dist.modifications.attacker import AttackerContext
from uapfp_dist.rng import seeded
from uapfp_dist.tasks.modification_specs import FineTune
from uapfp_dist.tasks.specs import Recipe

GENTLE = 0.1
"""Peak learning rate of weights that are trained already, as a share of the peak in training."""
LAYERS = ("all", "last", "new_last")


def finetune(net: Net, change: FineTune, attacker: AttackerContext) -> Net:
    """Train `net` in place on ATTACK.

    The last layer alone learns on features computed once, in evaluation mode: nothing else of the net can move, its
    BatchNorm statistics included.

    Raises:
        UserError: no epochs, or unknown layers.
    """
    if not change.epochs > 0:
        raise UserError(f"fine-tuning: expected more than 0 epochs, got {change.epochs}; choose e.g. 10")
    if change.layers not in LAYERS:
        raise unknown_name("layers to fine-tune", change.layers, LAYERS)
    images, labels = attacker.material.images, attacker.material.labels
    if change.layers == "all":
        tuner(net, attacker, change.epochs).run(images, labels)
        return net
    last = net.last
    assert isinstance(last, nn.Linear)
    if change.layers == "new_last":
        _renew(last, attacker.rng)
    features = layer(net, images, "features").to(images.device)
    share = 1.0 if change.layers == "new_last" else GENTLE
    tuner(last, attacker, change.epochs, share).run(features, labels)
    return net


def tuner(module: nn.Module, attacker: AttackerContext, epochs: float, share: float = GENTLE) -> Trainer:
    """A trainer of `module` for so many epochs over ATTACK, at `share` of the recipe's peak learning rate."""
    samples = max(1, round(epochs * len(attacker.material.images)))
    recipe: Recipe = replace(attacker.recipe, samples_seen=samples)
    if not isinstance(module, Net):  # features are no images
        recipe = replace(recipe, augment=False)
    trainer = Trainer(module, recipe, attacker.rng)
    trainer.peak *= share
    return trainer


def _renew(last: nn.Linear, rng: torch.Generator) -> None:
    """New random weights, the same on every device."""
    seed = int(torch.randint(2**62, (1,), generator=rng))
    with seeded(seed, torch.device("cpu")):
        fresh = nn.Linear(last.in_features, last.out_features, bias=last.bias is not None)
    last.load_state_dict(fresh.state_dict())
