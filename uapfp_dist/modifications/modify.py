"""Apply a modification to a copy of a net."""

import copy
from collections.abc import Sequence

import torch

from uapfp_dist.errors import UserError
from uapfp_dist.models.net import Net
from uapfp_dist.modifications.attacker import AttackerContext, AttackerData
from uapfp_dist.modifications.int8 import is_int8
from uapfp_dist.modifications.registry import MODIFICATIONS
from uapfp_dist.rng import seeded
from uapfp_dist.tasks.modification_specs import AdversarialTraining, Distill, ModificationSpec
from uapfp_dist.tasks.specs import Recipe


def modify(
    net: Net,
    modification: ModificationSpec,
    data: AttackerData,
    recipe: Recipe,
    rng: torch.Generator,
    student: Net | None = None,
    teacher: Net | None = None,
    siblings: Sequence[Net] = (),
) -> Net:
    """A modified copy of `net`, in evaluation mode, whatever accuracy is left.

    Args:
        net: on the device of the data; stays as it is.
        modification: what is done to it.
        data: the attacker's images.
        recipe: optimizer and batch size of fine-tuning, all of it for distillation.
        rng: CPU generator; all randomness follows from it.
        student: for `Distill`, a net with random weights; stays as it is.
        teacher: for `AdversarialTraining` with own labels, the model before the first iteration; by default `net`.
        siblings: for `GuessedChurn`, nets by the same recipe from other seeds; stay as they are.

    Raises:
        UserError: a spec that makes no sense, or a net in INT8, which can only be distilled.
    """
    if is_int8(net) and not isinstance(modification, Distill):
        raise UserError(
            f"{modification.description}: expected a net in float, got one in INT8; let INT8 be the last modification"
        )
    goes_on = isinstance(modification, AdversarialTraining) and modification.labels == "own" and modification.start > 0
    if goes_on and teacher is None:
        raise ValueError("adversarial training that goes on with own labels needs the model before it as teacher")
    attacker = AttackerContext(data, recipe, rng, net if teacher is None else teacher, student, tuple(siblings))
    seed = int(torch.randint(2**62, (1,), generator=rng))
    with seeded(seed, data.images.device):  # dropout
        return MODIFICATIONS[type(modification)](copy.deepcopy(net).eval(), modification, attacker).eval()
