"""Fingerprints from responses (paper Eq. 6)."""

import torch
from torch import Tensor

from uapfp_dist.fingerprints.blocks import CLEAN
from uapfp_dist.fingerprints.probe_data import Responses
from uapfp_dist.response_format import ResponseFormat


def fingerprints(answers: Responses, views: Tensor, gather: Tensor | None, name: str, fmt: ResponseFormat) -> Tensor:
    """(V, D) fingerprints in the order of Eq. 6: f(x1), f(x1 + v), ..., f(xn), f(xn + v).

    Args:
        answers: one model's.
        views: (V, n) into the block `clean`.
        gather: (V, n) into the block `name`; None for clean points only, where D = n C instead of 2 n C.
        name: a perturbed block.
        fmt: what is seen of the responses.
    """

    def of(block: str, index: Tensor) -> Tensor:
        known = answers.blocks[block]
        needed = int(index.max()) + 1
        assert needed <= len(known), (
            f"block {block}: {len(known)} answers, these views need {needed}: the model was asked the test views "
            "only and cannot train an encoder"
        )
        return fmt.apply(known[:needed])[index]

    clean = of(CLEAN, views)
    return clean.flatten(1) if gather is None else torch.stack([clean, of(name, gather)], dim=2).flatten(1)
