"""DeepFool (Moosavi-Dezfooli et al., CVPR 2016), batched: every image takes its own number of steps."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

OVERSHOOT = 0.02
MAX_STEPS = 50


@dataclass(frozen=True)
class Perturbed:
    """What DeepFool found for a batch."""

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
) -> Perturbed:
    """Smallest l2 perturbation to the nearest boundary of the linearised model, repeated until the label changes.

    Images that are fooled leave the batch, so late steps cost only what is left. No clipping.

    Args:
        model: (B, c, h, w) to (B, C) logits, in evaluation mode.
        images: (B, c, h, w).
        labels: (B,) labels to leave; the model's own by default. Images that do not have theirs need no step.
        overshoot: share by which the perturbation is lengthened.
        max_steps: linearisations per image at most.
    """
    if labels is None:
        with torch.no_grad():
            labels = model(images).argmax(1)
    total = torch.zeros_like(images)
    active = torch.arange(len(images), device=images.device)
    for _ in range(max_steps):
        x = (images[active] + (1 + overshoot) * total[active]).requires_grad_()
        logits = model(x)
        still = logits.argmax(1) == labels[active]
        if not bool(still.any()):
            break
        total[active[still]] += _step(logits, x, labels[active], still)
        active = active[still]
    with torch.no_grad():
        delta = (1 + overshoot) * total
        fooled = model(images + delta).argmax(1) != labels
    return Perturbed(delta, fooled)


def _step(logits: Tensor, x: Tensor, labels: Tensor, still: Tensor) -> Tensor:
    """The step to the nearest linearised boundary for the images in `still`."""
    n_classes = logits.shape[1]
    gradients = torch.stack(
        [
            torch.autograd.grad(logits[:, k].sum(), x, retain_graph=k + 1 < n_classes)[0][still]
            for k in range(n_classes)
        ],
        dim=1,
    )
    values, own = logits.detach()[still], labels[still]
    rows = torch.arange(len(own), device=x.device)
    w = gradients - gradients[rows, own][:, None]
    f = (values - values[rows, own][:, None]).abs()
    norm = w.flatten(2).norm(dim=2)
    distance = f / norm.clamp_min(1e-12)
    distance[rows, own] = float("inf")
    nearest = distance.argmin(1)
    # A boundary passes through the point itself when two logits tie: 1e-4 lets the step leave it.
    length = (f[rows, nearest] + 1e-4) / norm[rows, nearest].clamp_min(1e-12) ** 2
    return length.view(-1, 1, 1, 1) * w[rows, nearest]
