"""Fine-tuning: training continues at a low learning rate on the attacker's labelled images (paper Section 5.4)."""

from dataclasses import replace

import torch
from torch import nn

from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.models.blackbox import batched_outputs
from uapfp_dist.models.net import Net
from uapfp_dist.models.training import Trainer
from uapfp_dist.modifications.attacker import AttackerContext
from uapfp_dist.rng import seeded
from uapfp_dist.tasks.modification_specs import FineTune
from uapfp_dist.tasks.specs import Recipe

FINE_TUNING_RATE = 0.1
"""Peak learning rate of weights that are trained already, as a share of the peak in training."""
LAYERS = ("all", "last", "new_last")


def finetune(net: Net, spec: FineTune, attacker: AttackerContext) -> Net:
    """Train `net` in place on ATTACK.

    The last layer alone is trained on features computed once, in evaluation mode: nothing else of the net can change,
    its BatchNorm statistics included.

    Raises:
        UserError: no epochs, or unknown layers.
    """
    if not spec.epochs > 0:
        raise UserError(f"fine-tuning: expected more than 0 epochs, got {spec.epochs}; choose e.g. 10")
    if spec.layers not in LAYERS:
        raise unknown_name("layers to fine-tune", spec.layers, LAYERS)
    images, labels = attacker.data.images, attacker.data.labels
    if spec.layers == "all":
        fine_tuning_trainer(net, attacker, spec.epochs).run(images, labels)
        return net
    last = net.last
    assert isinstance(last, nn.Linear)
    if spec.layers == "new_last":
        _reinitialise(last, attacker.rng)
    features = batched_outputs(net, images, "features").to(images.device)
    share = 1.0 if spec.layers == "new_last" else FINE_TUNING_RATE
    share *= net.rate_scale.get(attacker.recipe.optimizer, 1.0)  # a layer alone does not know its net's
    fine_tuning_trainer(last, attacker, spec.epochs, share).run(features, labels)
    return net


def fine_tuning_trainer(
    module: nn.Module,
    attacker: AttackerContext,
    epochs: float,
    share: float = FINE_TUNING_RATE,
    n_images: int | None = None,
) -> Trainer:
    """A trainer of `module` for so many epochs over `n_images`, at `share` of the recipe's peak learning rate.

    Args:
        n_images: by default those of ATTACK.
    """
    samples = max(1, round(epochs * (len(attacker.data.images) if n_images is None else n_images)))
    recipe: Recipe = replace(attacker.recipe, samples_seen=samples)
    if not isinstance(module, Net):  # features are no images
        recipe = replace(recipe, augment=False)
    trainer = Trainer(module, recipe, attacker.rng)
    trainer.peak *= share
    return trainer


def _reinitialise(last: nn.Linear, rng: torch.Generator) -> None:
    """New random weights, the same on every device."""
    seed = int(torch.randint(2**62, (1,), generator=rng))
    with seeded(seed, torch.device("cpu")):
        fresh = nn.Linear(last.in_features, last.out_features, bias=last.bias is not None)
    last.load_state_dict(fresh.state_dict())
