"""Modifications by the class of their spec.

To add one: its spec in `tasks.modification_specs`, in the union at the end too; a file here with a function; a line in
MODIFICATIONS. For an evaluation to make such models: an option in `config.schema.ModificationConfig`, off by default
and with a wire name that omits the default, so that no id changes; its range in `config.limits`; a line in
`evaluation.modified_models`. Where the net has other tensors afterwards, as with INT8: `TaskContext.empty` in
`execution.context`.
"""

from typing import Any, Protocol

from uapfp_dist.models.net import Net
from uapfp_dist.modifications.adversarial import adversarial_training
from uapfp_dist.modifications.attacker import AttackerContext
from uapfp_dist.modifications.distill import distill
from uapfp_dist.modifications.finetune import finetune
from uapfp_dist.modifications.guessed_churn import fine_tune_on_guesses
from uapfp_dist.modifications.int8 import quantise
from uapfp_dist.modifications.pgd import pgd_training
from uapfp_dist.modifications.prune import prune
from uapfp_dist.tasks.modification_specs import (
    AdversarialTraining,
    Distill,
    FineTune,
    GuessedChurn,
    Int8,
    ModificationSpec,
    PgdTraining,
    Prune,
)


class Modification(Protocol):
    """Modifies a net.

    Args: the net, in evaluation mode, which may be changed in place; an instance of the spec class under which the
    modification is registered; what the attacker has. Returns the modified net, the same object or another. Raises
    UserError where the spec makes no sense.
    """

    def __call__(self, net: Net, spec: Any, attacker: AttackerContext, /) -> Net: ...


MODIFICATIONS: dict[type[ModificationSpec], Modification] = {
    FineTune: finetune,
    Prune: prune,
    Int8: quantise,
    AdversarialTraining: adversarial_training,
    Distill: distill,
    PgdTraining: pgd_training,
    GuessedChurn: fine_tune_on_guesses,
}
