"""Gradients of the leads of several rivals over the label, by the image, in bounded memory.

One backward pass per rival, or all of them as one under `torch.vmap`, whichever is faster: a CPU is faster at many
passes as long as a pass is larger than its overhead, because all at once leave the cache; a GPU is faster at few.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CACHE = 2**20
"""Bytes of the largest gradient of an activation up to which a CPU takes all rivals at once."""
FEWEST = 4
"""Images, and rivals, from which on a CPU does so. Of fewer images the products of matrices round differently in a
larger batch; of fewer rivals one pass each is faster."""
GRAPH_BYTES = {"cpu": 2**30, "cuda": 2**32}
"""What the activations of one chunk of images, with its gradients, may take."""
BACKWARD_BYTES = {"cpu": CACHE, "cuda": 2**32}
"""What the gradients of activations may take if several rivals go at once."""
LIVE = 4
"""Largest gradients alive at a time in a backward pass: the one that comes, the one that goes, a copy between."""


@dataclass(frozen=True)
class Footprint:
    """Bytes that the graph of one image keeps for its backward pass."""

    graph: int
    largest: int
    """Of its largest activation."""
    n_classes: int = 2


def footprint(model: nn.Module, image: Tensor) -> Footprint:
    """Measured on `image` (1, c, h, w), parameters and buffers not counted."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(image.detach().clone().requires_grad_())
    return Footprint(sum(kept.values()), max(kept.values(), default=0), logits.shape[1])


def images_at_once(size: Footprint, image: Tensor, n_candidates: int) -> int:
    """How many images like `image` (1, c, h, w) may share a graph. Gradients are held twice while they are stacked."""
    gradients = 2 * (min(n_candidates, size.n_classes) - 1) * image.nbytes
    bound = GRAPH_BYTES.get(image.device.type, GRAPH_BYTES["cuda"])
    return max(1, bound // max(1, size.graph + gradients + LIVE * size.largest))


def rivals_at_once(size: Footprint, n_images: int, n_rivals: int, device: torch.device) -> int:
    """How many rivals share a backward pass."""
    bound = BACKWARD_BYTES.get(device.type, BACKWARD_BYTES["cuda"])
    if device.type == "cpu":
        fits = n_images * n_rivals * size.largest <= bound
        return n_rivals if fits and min(n_images, n_rivals) >= FEWEST else 1
    return max(1, min(n_rivals, bound // max(1, LIVE * n_images * size.largest)))


def rival_gradients(logits: Tensor, x: Tensor, labels: Tensor, rivals: Tensor, at_once: int) -> Tensor:
    """(B, K, c, h, w): the gradient of each rival's lead over the label, by its own image.

    Args:
        logits: (B, C) of a model on x; their graph is freed.
        x: (B, c, h, w), a leaf that needs a gradient.
        labels: (B,).
        rivals: (B, K).
        at_once: rivals that share a backward pass, 1 to K.
    """
    n_classes = logits.shape[1]
    leads = (F.one_hot(rivals.T, n_classes) - F.one_hot(labels, n_classes)).to(logits.dtype)  # (K, B, C)
    if at_once == 1:
        each = [
            torch.autograd.grad(logits, x, lead, retain_graph=k + 1 < len(leads))[0] for k, lead in enumerate(leads)
        ]
        return torch.stack(each, dim=1)
    groups = leads.split(at_once)
    found = [_vmapped(logits, x, group, retain=k + 1 < len(groups)) for k, group in enumerate(groups)]
    # Laid out as `stack` lays out gradients of channels-last nets: the order of memory decides the sums of norms.
    return torch.cat(found).permute(1, 3, 4, 0, 2).contiguous().permute(0, 3, 4, 1, 2)


def _vmapped(logits: Tensor, x: Tensor, leads: Tensor, *, retain: bool) -> Tensor:
    """(K, B, c, h, w) in one backward pass over the graph of B images."""
    return torch.vmap(lambda lead: torch.autograd.grad(logits, x, lead, retain_graph=retain)[0])(leads)
