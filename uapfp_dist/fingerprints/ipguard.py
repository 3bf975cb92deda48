"""IPGuard (Cao et al., AsiaCCS 2021): points just across the victim's decision boundary."""

import torch
from torch import Tensor, nn

RATE = 0.01
"""Adam's, in pixel values."""
MAX_STEPS = 300
K = 0.05
"""The two largest logits of a finished point differ by at most this (logits are of the order of 10)."""
HALVINGS = 30


def boundary_points(net: nn.Module, images: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Move images out of their label's region, towards a random other label, until the two largest logits nearly tie.

    Adam on ReLU(Z_i - Z_j) + ReLU(max_t Z_t - Z_i), the paper's loss for k towards 0, where i is the label the image
    has and j the one it shall get. Then bisection between the last step within the region and the first one outside:
    the point has left the region, but its lead over label i is at most K.

    Args:
        net: the victim, in evaluation mode.
        images: (B, c, h, w) in [0, 1].
        rng: CPU generator for the labels j.

    Returns:
        (B, c, h, w) in [0, 1], and (B,) bool: whether it got there. Else the point is where it ended.
    """
    with torch.no_grad():
        logits = net(images)
    own = logits.argmax(1)
    shift = torch.randint(1, logits.shape[1], (len(images),), generator=rng).to(own.device)
    target = (own + shift) % logits.shape[1]
    inside, outside = images.clone(), images.clone()
    left = torch.zeros_like(own, dtype=torch.bool)
    x = images.clone().requires_grad_()
    adam = torch.optim.Adam([x], lr=RATE)
    for _ in range(MAX_STEPS):
        logits = net(x)
        outside = torch.where(_wide(left), outside, x.detach())
        left = left | (logits.argmax(1) != own)
        if bool(left.all()):
            break
        inside = torch.where(_wide(left), inside, x.detach())
        (x.grad,) = torch.autograd.grad(_loss(logits, own, target), x)
        adam.step()
        with torch.no_grad():
            x.clamp_(0.0, 1.0)
    return _bisect(net, inside, outside, own)


def _loss(logits: Tensor, own: Tensor, target: Tensor) -> Tensor:
    """The target label above the own one, and no third one in between."""
    at_own, at_target = (logits.gather(1, label[:, None])[:, 0] for label in (own, target))
    third = logits.scatter(1, torch.stack([own, target], dim=1), float("-inf")).max(1).values
    return ((at_own - at_target).relu() + (third - at_own).relu()).sum()


@torch.no_grad()
def _bisect(net: nn.Module, inside: Tensor, outside: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Halve the segment, its outer end never in the region of `own`, until that end leads by at most K."""
    for _ in range(HALVINGS):
        far = _wide(_lead(net(outside), own) > K)
        if not bool(far.any()):
            break
        middle = (inside + outside) / 2
        beyond = _wide(_lead(net(middle), own) > 0)
        outside = torch.where(far & beyond, middle, outside)
        inside = torch.where(far & ~beyond, middle, inside)
    lead = _lead(net(outside), own)
    return outside, (lead >= 0) & (lead <= K)


def _lead(logits: Tensor, own: Tensor) -> Tensor:
    """(B,) the largest other logit above that of the own label."""
    others = logits.scatter(1, own[:, None], float("-inf")).max(1).values
    return others - logits.gather(1, own[:, None])[:, 0]


def _wide(mask: Tensor) -> Tensor:
    return mask.view(-1, 1, 1, 1)
