"""Fingerprints from responses (paper Eq. 6)."""

import torch
from torch import Tensor

from uapfp_dist.fingerprints.blocks import BlockKey, clean_of
from uapfp_dist.fingerprints.probe_data import Responses
from uapfp_dist.response_format import ResponseFormat


def fingerprints(
    responses: Responses, views: Tensor, gather: Tensor | None, key: BlockKey, fmt: ResponseFormat
) -> Tensor:
    """(V, D) fingerprints in the order of Eq. 6: f(x1), f(x1 + v), ..., f(xn), f(xn + v).

    Args:
        responses: one model's.
        views: (V, n) into the points that the block perturbs.
        gather: (V, n) into the block `key`; None for clean points only, where D = n C instead of 2 n C.
        key: a perturbed block.
        fmt: what is seen of the responses.
    """

    def of(block: BlockKey, index: Tensor) -> Tensor:
        known = responses.blocks[block]
        needed = int(index.max()) + 1
        assert needed <= len(known), (
            f"block {block}: {len(known)} responses, these views need {needed}: the model was queried with the "
            "test views only and cannot train an encoder"
        )
        return fmt.apply(known[:needed])[index]

    clean = of(clean_of(key), views)
    return clean.flatten(1) if gather is None else torch.stack([clean, of(key, gather)], dim=2).flatten(1)
