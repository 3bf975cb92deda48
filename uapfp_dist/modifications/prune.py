"""Pruning by magnitude over the whole net (Zhu and Gupta, 2018; paper Section 5.4)."""

import torch
from torch import Tensor, nn

from uapfp_dist.errors import UserError
from uapfp_dist.models.net import Net
from uapfp_dist.modifications.attacker import AttackerContext
from uapfp_dist.modifications.finetune import fine_tuning_trainer
from uapfp_dist.tasks.modification_specs import Prune


@torch.no_grad()
def prune(net: Net, spec: Prune, attacker: AttackerContext) -> Net:
    """Set the smallest weights of `net` to zero, in place; then optionally train on ATTACK, the zeros held.

    One threshold for all convolutions and linear layers together; biases and BatchNorm are kept. Of equal magnitudes
    the first ones become 0, so that the share is exact.

    Raises:
        UserError: a share outside (0, 1), or recovery epochs below 0.
    """
    if not 0.0 < spec.share < 1.0:
        raise UserError(f"pruning: expected a share between 0 and 1, got {spec.share}; choose e.g. 0.4")
    if not spec.recovery_epochs >= 0.0:
        raise UserError(f"pruning: expected at least 0 recovery epochs, got {spec.recovery_epochs}")
    weights = prunable(net)
    magnitudes = torch.cat([weight.abs().flatten() for weight in weights])
    smallest = magnitudes.argsort(stable=True)[: round(spec.share * len(magnitudes))]
    pruned = torch.zeros_like(magnitudes, dtype=torch.bool)
    pruned[smallest] = True
    masks = [
        mask.view(weight.shape)
        for mask, weight in zip(pruned.split([w.numel() for w in weights]), weights, strict=True)
    ]
    _zero(weights, masks)
    if spec.recovery_epochs > 0.0:
        trainer = fine_tuning_trainer(net, attacker, spec.recovery_epochs)
        trainer.optimizer.register_step_post_hook(lambda *_: _zero(weights, masks))
        with torch.enable_grad():
            trainer.run(attacker.data.images, attacker.data.labels)
    return net


def prunable(net: nn.Module) -> list[Tensor]:
    """The weights, without biases, of all convolutions and linear layers."""
    return [module.weight for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


@torch.no_grad()
def _zero(weights: list[Tensor], masks: list[Tensor]) -> None:
    for weight, mask in zip(weights, masks, strict=True):
        weight.masked_fill_(mask, 0.0)
