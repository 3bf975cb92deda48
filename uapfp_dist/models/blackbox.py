"""A model through its responses alone."""

import torch
from torch import Tensor, nn

from uapfp_dist.errors import PermanentError, UserError
from uapfp_dist.pass_size import in_passes
from uapfp_dist.pixels import as_float
from uapfp_dist.response_format import ResponseFormat

QUERY_BATCH = 500
"""Images that are made at once; fixed, as is `pass_size`, so that responses are the same bits in every run."""


class NotFiniteError(PermanentError):
    """A net's outputs are NaN or infinite."""


class BudgetExceededError(RuntimeError):
    """A batch exceeds what is left of the budget; none of it was sent."""


@torch.no_grad()
def predict_probabilities(model: nn.Module, images: Tensor) -> Tensor:
    """Probabilities (Q, C), on the CPU, for `images` (Q, c, h, w) in [0, 1], or uint8."""
    model.eval()
    device = next(model.parameters()).device
    return torch.cat([model(as_float(batch.to(device))).softmax(1) for batch in in_passes(images, device)]).cpu()


@torch.no_grad()
def batched_outputs(model: nn.Module, images: Tensor, method: str) -> Tensor:
    """What `model.<method>` returns for `images`, batch by batch, on the CPU: white-box, for the owner's own model."""
    model.eval()
    device = next(model.parameters()).device
    call = getattr(model, method)
    return torch.cat([call(as_float(batch.to(device))) for batch in in_passes(images, device)]).cpu()


def check_finite(outputs: Tensor, whose: str) -> None:
    """Accept finite (Q, C) outputs.

    Raises:
        NotFiniteError: NaN or infinite ones, which would count as a response: class 0, or no similarity.
    """
    broken = int((~outputs.isfinite().all(1)).sum())
    if broken:
        raise NotFiniteError(f"{whose}: expected numbers, got NaN or infinity for {broken} of {len(outputs)} images")


def labels_given(outputs: Tensor) -> list[int | None]:
    """The labels of (Q, C) outputs; None where there are NaN or infinite ones: the largest of NaN is class 0."""
    labels, finite = outputs.argmax(1).tolist(), outputs.isfinite().all(1).tolist()
    return [label if known else None for label, known in zip(labels, finite, strict=True)]


class Blackbox:
    """The victim as an attacker meets it: responses only, counted against a budget that cannot be exceeded.

    Args:
        model: the victim.
        budget: images it responds to in all (one query = one image), at least 1.
        response: the format of its responses.

    Raises:
        UserError: a budget below 1.
    """

    def __init__(self, model: nn.Module, budget: int, response: ResponseFormat) -> None:
        if budget < 1:
            raise UserError(f"budget: expected at least 1 query, got {budget}")
        self._model = model
        self.budget = budget
        self.response = response
        self.queries = 0

    def __call__(self, images: Tensor) -> Tensor:
        """Responses to (Q, c, h, w): (Q, C) probabilities or (Q,) labels, on the images' device.

        Raises:
            BudgetExceededError: fewer than Q queries are left; none was spent.
            UserError: a response that is not finite.
        """
        if self.queries + len(images) > self.budget:
            raise BudgetExceededError(
                f"budget of {self.budget} queries: {self.queries} spent, {len(images)} more requested"
            )
        self.queries += len(images)
        probabilities = predict_probabilities(self._model, images)
        if n_bad := int((~probabilities.isfinite()).any(1).sum()):
            raise UserError(
                f"victim: expected finite probabilities, got NaN for {n_bad} of {len(images)} images; check its weights"
            )
        return self.response.respond(probabilities.to(images.device))
