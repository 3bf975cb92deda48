"""Changes to a (stolen) model, by the dataclass that asks for them. To add one: a function, a line in MODIFICATIONS."""

import copy
from collections.abc import Callable
from typing import Any

import torch

from uapfp_dist.errors import UserError
from uapfp_dist.models.net import Net
from uapfp_dist.modifications.adversarial import adversarial_training
from uapfp_dist.modifications.attacker import AttackerContext, AttackerData
from uapfp_dist.modifications.distill import distill
from uapfp_dist.modifications.finetune import finetune
from uapfp_dist.modifications.int8 import int8_structure, is_int8, quantise
from uapfp_dist.modifications.prune import prune
from uapfp_dist.rng import seeded
from uapfp_dist.tasks.description import describe_modification
from uapfp_dist.tasks.modification_specs import AdversarialTraining, Distill, FineTune, Int8, ModificationSpec, Prune
from uapfp_dist.tasks.specs import Recipe

Modification = Callable[[Net, Any, AttackerContext], Net]
"""(net, which it may move in place; its change; the attacker) to the modified net."""


MODIFICATIONS: dict[type[ModificationSpec], Modification] = {
    FineTune: finetune,
    Prune: prune,
    Int8: quantise,
    AdversarialTraining: adversarial_training,
    Distill: distill,
}


__all__ = ["MODIFICATIONS", "AttackerData", "about", "int8_structure", "is_int8", "modify"]


def modify(
    net: Net,
    change: ModificationSpec,
    material: AttackerData,
    recipe: Recipe,
    rng: torch.Generator,
    student: Net | None = None,
    teacher: Net | None = None,
) -> Net:
    """A changed copy of `net`, in evaluation mode; a change that ruins it is none the less returned.

    Args:
        net: on the device of the material; stays as it is.
        change: what is done to it.
        material: what the attacker has.
        recipe: optimizer and batch size of fine-tuning, all of it for distillation.
        rng: CPU generator; all that is random follows from it.
        student: for `Distill`, a net with random weights; stays as it is.
        teacher: for `AdversarialTraining` with own labels, the model before the attack began; by default `net`.

    Raises:
        UserError: a change that makes no sense, or a net in INT8, which can only be distilled.
    """
    if is_int8(net) and not isinstance(change, Distill):
        raise UserError(
            f"{describe_modification(change)}: expected a net in float, got one in INT8; let INT8 be the last change"
        )
    if isinstance(change, AdversarialTraining) and change.labels == "own" and change.start and teacher is None:
        raise ValueError("adversarial training that goes on with own labels needs the model before it as teacher")
    attacker = AttackerContext(material, recipe, rng, net if teacher is None else teacher, student)
    seed = int(torch.randint(2**62, (1,), generator=rng))
    with seeded(seed, material.images.device):  # dropout
        return MODIFICATIONS[type(change)](copy.deepcopy(net).eval(), change, attacker).eval()
