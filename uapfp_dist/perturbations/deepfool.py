"""DeepFool (Moosavi-Dezfooli et al., CVPR 2016), batched: every image stops when it is fooled."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from uapfp_dist.errors import UserError
from uapfp_dist.pass_size import pass_size
from uapfp_dist.perturbations.frozen import frozen
from uapfp_dist.perturbations.rival_gradients import (
    FEWEST,
    Footprint,
    footprint,
    images_at_once,
    rival_gradients,
    rivals_at_once,
)

OVERSHOOT = 0.02
MAX_STEPS = 50
N_CANDIDATES = 10


@dataclass(frozen=True)
class DeepFoolResult:
    """Perturbations of a batch."""

    delta: Tensor
    """(B, c, h, w); overshoot included."""
    fooled: Tensor
    """(B,) bool: the label changed."""


def deepfool(
    model: nn.Module,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    overshoot: float = OVERSHOOT,
    max_steps: int = MAX_STEPS,
    n_candidates: int = N_CANDIDATES,
) -> DeepFoolResult:
    """Smallest l2 perturbation to the nearest boundary of the linearised model, repeated until the label changes.

    Images that are fooled leave the batch: later steps compute the others only. No clipping. A batch whose graph would
    take too much memory, or more than one pass, goes in chunks.

    Args:
        model: (B, c, h, w) to (B, C) logits, in evaluation mode.
        images: (B, c, h, w).
        labels: (B,) labels to move away from; the model's own by default. Images predicted otherwise need no step.
        overshoot: share by which the perturbation is lengthened.
        max_steps: linearisations per image at most.
        n_candidates: the label and its strongest rivals on the image itself, whose boundaries are considered; one
            backward pass for each rival. The original uses 10.

    Raises:
        UserError: fewer than two candidates.
    """
    if n_candidates < 2:
        raise UserError(f"DeepFool: expected n_candidates of at least 2 (the label and a rival), got {n_candidates}")
    few = images.device.type == "cpu" and len(images) < FEWEST  # measuring them would cost more than it saves
    with frozen(model):
        size = Footprint(0, 0) if few else footprint(model, images[:1])
        at_once = min(images_at_once(size, images[:1], n_candidates), pass_size(images))
        n_chunks = max(1, -(-len(images) // at_once))
        chunks = images.tensor_split(n_chunks)
        given = [None] * n_chunks if labels is None else labels.tensor_split(n_chunks)
        found = [
            _one_batch(model, chunk, own, size, overshoot, max_steps, n_candidates)
            for chunk, own in zip(chunks, given, strict=True)
        ]
    return DeepFoolResult(torch.cat([one.delta for one in found]), torch.cat([one.fooled for one in found]))


def _one_batch(
    model: nn.Module,
    images: Tensor,
    labels: Tensor | None,
    size: Footprint,
    overshoot: float,
    max_steps: int,
    n_candidates: int,
) -> DeepFoolResult:
    """All images at once. One forward pass says who is fooled, and the gradients of the others come from it."""
    x = images.detach().clone().requires_grad_()
    logits = model(x)
    labels = logits.argmax(1) if labels is None else labels
    n_rivals = min(n_candidates, logits.shape[1]) - 1
    rivals = logits.detach().scatter(1, labels[:, None], float("-inf")).topk(n_rivals).indices
    total = torch.zeros_like(images)
    fooled = torch.zeros_like(labels, dtype=torch.bool)
    active = torch.arange(len(images), device=images.device)
    for step in range(max_steps + 1):
        stays = logits.argmax(1) == labels[active]
        fooled[active] = ~stays
        n_stay = int(stays.sum())
        if n_stay == 0 or step == max_steps:
            break
        if (len(active) - n_stay) * n_rivals > n_stay:  # a forward pass of the others is cheaper than all gradients
            active, stays = active[stays], stays[stays]
            del x, logits  # two graphs at a time would be twice the memory
            x, logits = _forward(model, images, total, active, overshoot)
        at_once = rivals_at_once(size, len(active), n_rivals, images.device)
        move = _step(logits, x, labels[active], rivals[active], at_once)
        if n_stay < len(active):
            active, move = active[stays], move[stays]
        total[active] += move
        x, logits = _forward(model, images, total, active, overshoot)
    return DeepFoolResult((1 + overshoot) * total, fooled)


def _forward(
    model: nn.Module, images: Tensor, total: Tensor, active: Tensor, overshoot: float
) -> tuple[Tensor, Tensor]:
    """The active images where they are now, and their logits with the graph."""
    x = (images[active] + (1 + overshoot) * total[active]).requires_grad_()
    return x, model(x)


def _step(logits: Tensor, x: Tensor, labels: Tensor, rivals: Tensor, at_once: int) -> Tensor:
    """The step to the nearest linearised boundary between the label and one of its rivals (B, n_rivals)."""
    w = rival_gradients(logits, x, labels, rivals, at_once)
    logits = logits.detach()
    f = (logits.gather(1, rivals) - logits.gather(1, labels[:, None])).abs()
    norm = w.flatten(2).norm(dim=2).clamp_min(1e-12)
    nearest = (f / norm).argmin(1)
    rows = torch.arange(len(x), device=x.device)
    # When two logits tie, the boundary passes through the point itself: 1e-4 makes the step leave it.
    length = (f[rows, nearest] + 1e-4) / norm[rows, nearest] ** 2
    return length.view(-1, 1, 1, 1) * w[rows, nearest]
