"""One artifact, and whether a store gives it back to the bit."""

import torch

from uapfp_dist.storage.store import Store

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([7, 8])}
INFO = {"accuracy": 0.1 + 0.2, "name": "größe", "nested": {"list": [1, None, True]}}


def same(store: Store, key: str = "k") -> bool:
    """Whether the artifact reads as it was written, to the bit."""
    found = store.get("model", key)
    return found.info == INFO and all(
        found.tensors[name].dtype == tensor.dtype and torch.equal(found.tensors[name], tensor)
        for name, tensor in TENSORS.items()
    )
