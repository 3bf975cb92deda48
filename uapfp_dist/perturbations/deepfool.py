"""DeepFool (Moosavi-Dezfooli et al., CVPR 2016), batched: every image stops when it is fooled."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from uapfp_dist.errors import UserError

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

    Images that are fooled leave the batch: later steps compute the others only. No clipping.

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
    with torch.no_grad():
        logits = model(images)
    labels = logits.argmax(1) if labels is None else labels
    n_rivals = min(n_candidates, logits.shape[1]) - 1
    rivals = logits.scatter(1, labels[:, None], float("-inf")).topk(n_rivals).indices
    active = (logits.argmax(1) == labels).nonzero()[:, 0]
    total = torch.zeros_like(images)
    for _ in range(max_steps):
        if not len(active):
            break
        x = images[active] + (1 + overshoot) * total[active]
        total[active] += _step(model, x, labels[active], rivals[active])
        with torch.no_grad():
            moved = model(images[active] + (1 + overshoot) * total[active])
        active = active[moved.argmax(1) == labels[active]]
    with torch.no_grad():
        delta = (1 + overshoot) * total
        fooled = model(images + delta).argmax(1) != labels
    return DeepFoolResult(delta, fooled)


def _step(model: nn.Module, x: Tensor, labels: Tensor, rivals: Tensor) -> Tensor:
    """The step to the nearest linearised boundary between the label and one of its rivals (B, n_rivals)."""
    x = x.requires_grad_()
    logits = model(x)
    lead = logits.gather(1, rivals) - logits.gather(1, labels[:, None])
    w = _gradients(lead, x)
    f = lead.detach().abs()
    norm = w.flatten(2).norm(dim=2).clamp_min(1e-12)
    nearest = (f / norm).argmin(1)
    rows = torch.arange(len(x), device=x.device)
    # When two logits tie, the boundary passes through the point itself: 1e-4 makes the step leave it.
    length = (f[rows, nearest] + 1e-4) / norm[rows, nearest] ** 2
    return length.view(-1, 1, 1, 1) * w[rows, nearest]


def _gradients(values: Tensor, x: Tensor) -> Tensor:
    """(B, K, c, h, w): the gradient of each of values (B, K) by its own image."""
    if x.is_cuda:  # K small backward passes leave a GPU idle between kernels, but fit the cache of a CPU
        return _all_at_once(values, x)
    n = values.shape[1]
    each = [torch.autograd.grad(values[:, k].sum(), x, retain_graph=k + 1 < n)[0] for k in range(n)]
    return torch.stack(each, dim=1)


def _all_at_once(values: Tensor, x: Tensor) -> Tensor:
    """The same in one backward pass."""
    one_hot = torch.eye(values.shape[1], dtype=values.dtype, device=x.device)[:, None].expand(-1, len(x), -1)
    (gradients,) = torch.autograd.grad(values, x, one_hot, is_grads_batched=True)
    return gradients.transpose(0, 1)
