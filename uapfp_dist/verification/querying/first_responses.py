"""What is looked at before the rest of the budget is spent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.verification.querying.ledger import Ledger


@dataclass(frozen=True)
class FirstResponses:
    """What is looked at before the rest of the budget is spent."""

    images: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    """(K,) int64: required images that are sent before all others."""
    unreadable: Callable[[Sequence[object]], str] = lambda responses: ""
    """Why none of some responses can be read, or an empty string: asked of the very first request."""
    refusal: Callable[[Ledger], UserError | None] = lambda ledger: None
    """Why the rest would be paid for in vain, or None: asked once `images` are answered."""

    def check(self, responses: Sequence[object]) -> None:
        """Look at the responses to the very first request: whoever named another form has not yet spent much.

        Raises:
            UserError: none of them can be read.
        """
        if why := self.unreadable(responses):
            of = len(responses)
            which = "its first answer cannot" if of == 1 else f"none of its first {of} answers can"
            raise UserError(
                f"{which} be read ({why}): check output, classes and answer, and run it again: nothing counts yet; or "
                "give anyway to query the rest all the same",
                argument="output",
                options=("anyway",),
            )
