"""A model through its answers alone."""

import torch
from torch import Tensor, nn

from uapfp_dist.specs import Labels

ANSWER_BATCH = 500
"""Fixed, so that answers are the same bits in every run."""


class BudgetExceededError(RuntimeError):
    """More images than the budget would have been sent; none of the batch was."""


@torch.no_grad()
def ask(model: nn.Module, images: Tensor, batch_size: int = ANSWER_BATCH) -> Tensor:
    """Probabilities (Q, C), on the CPU, for `images` (Q, c, h, w) in [0, 1]."""
    model.eval()
    device = next(model.parameters()).device
    return torch.cat([model(batch.to(device)).softmax(1).cpu() for batch in images.split(batch_size)])


@torch.no_grad()
def layer(model: nn.Module, images: Tensor, method: str, batch_size: int = ANSWER_BATCH) -> Tensor:
    """What `model.<method>` gives for `images`, batch by batch, on the CPU: white-box, for the owner's own model."""
    model.eval()
    device = next(model.parameters()).device
    call = getattr(model, method)
    return torch.cat([call(batch.to(device)).cpu() for batch in images.split(batch_size)])


class Blackbox:
    """The victim as an attacker meets it: answers, counted in a ledger that cannot be exceeded.

    Args:
        model: the victim.
        budget: images it will answer in all (one query = one image).
        labels: `soft` gives probabilities, `hard` gives int64 labels.
    """

    def __init__(self, model: nn.Module, budget: int, labels: Labels) -> None:
        self._model = model
        self.budget = budget
        self.labels = labels
        self.queries = 0

    def __call__(self, images: Tensor) -> Tensor:
        """Answers for (Q, c, h, w): (Q, C) probabilities or (Q,) labels, on the images' device."""
        if self.queries + len(images) > self.budget:
            raise BudgetExceededError(
                f"budget of {self.budget} queries: {self.queries} spent, {len(images)} more asked for"
            )
        self.queries += len(images)
        answers = ask(self._model, images).to(images.device)
        return answers if self.labels == "soft" else answers.argmax(1)
