"""Pruning by magnitude over the whole net (Zhu and Gupta, 2018; paper Section 5.4)."""

import torch
from torch import Tensor, nn

from uapfp_dist.errors import UserError
from uapfp_dist.models.net import Net
from uapfp_dist.modifications.attacker import AttackerContext
from uapfp_dist.modifications.finetune import tuner
from uapfp_dist.tasks.modification_specs import Prune


@torch.no_grad()
def prune(net: Net, change: Prune, attacker: AttackerContext) -> Net:
    """Set the smallest weights of `net` to zero, in place; then train on ATTACK with the zeros held, if wanted.

    One threshold for all convolutions and linear layers together; biases and BatchNorm are kept. Of equal magnitudes
    the first ones go, so that the share is exact.

    Raises:
        UserError: a share outside (0, 1), or recovery epochs below 0.
    """
    if not 0.0 < change.share < 1.0:
        raise UserError(f"pruning: expected a share between 0 and 1, got {change.share}; choose e.g. 0.4")
    if not change.recovery_epochs >= 0.0:
        raise UserError(f"pruning: expected at least 0 recovery epochs, got {change.recovery_epochs}")
    weights = prunable(net)
    magnitudes = torch.cat([weight.abs().flatten() for weight in weights])
    smallest = magnitudes.argsort(stable=True)[: round(change.share * len(magnitudes))]
    gone = torch.zeros_like(magnitudes, dtype=torch.bool)
    gone[smallest] = True
    masks = [
        mask.view(weight.shape) for mask, weight in zip(gone.split([w.numel() for w in weights]), weights, strict=True)
    ]
    _zero(weights, masks)
    if change.recovery_epochs > 0.0:
        trainer = tuner(net, attacker, change.recovery_epochs)
        trainer.optimizer.register_step_post_hook(lambda *_: _zero(weights, masks))
        with torch.enable_grad():
            trainer.run(attacker.material.images, attacker.material.labels)
    return net


def prunable(net: nn.Module) -> list[Tensor]:
    """The weights, without biases, of all convolutions and linear layers."""
    return [module.weight for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


@torch.no_grad()
def _zero(weights: list[Tensor], masks: list[Tensor]) -> None:
    for weight, mask in zip(weights, masks, strict=True):
        weight.masked_fill_(mask, 0.0)
