"""Jacobian-based augmentation (Papernot et al., 2017)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from uapfp_dist.attacks.attack import Attack
from uapfp_dist.models.net import Net
from uapfp_dist.pass_size import in_passes, pass_size


@dataclass(frozen=True, kw_only=True)
class Jacobian(Attack):
    """x + step * sign(d logit_y / d x), y the victim's label for x: explores where the substitute's view of it changes.

    It starts from images queried before, synthetic ones included: round by round it gets further away from the natural
    images.
    """

    name: ClassVar[str] = "jacobian"
    step: float = 0.1
    """Signed step in pixel units (the original's lambda)."""
    along: Literal["victim", "substitute"] = "victim"
    """Whose label y is: the victim's, as published; the substitute's, as in artifacts of earlier code."""

    def craft(
        self, substitute: Net, pool: Tensor, queried: Tensor, labels: Tensor, n: int, rng: torch.Generator
    ) -> Tensor:
        """An image is used again when `n` exceeds those queried."""
        permutations = [torch.randperm(len(queried), generator=rng) for _ in range(-(-n // len(queried)))]
        chosen = torch.cat(permutations)[:n].to(queried.device)
        images = queried[chosen]
        parts = zip(in_passes(images), labels[chosen].split(pass_size(images)), strict=True)
        gradient = torch.cat([self._gradient(substitute, *part) for part in parts])
        # Ascending the label's own logit moves inwards, descending it outwards: half of the images each.
        sign = torch.ones(len(images), 1, 1, 1, device=images.device)
        sign[::2] = -1.0
        return (images.detach() + self.step * sign * gradient.sign()).clamp(0.0, 1.0)

    def _gradient(self, substitute: Net, images: Tensor, labels: Tensor) -> Tensor:
        """Of the logit of y, by each image."""
        images = images.detach().requires_grad_()
        logits = substitute(images)
        own = logits.gather(1, labels[:, None]) if self.along == "victim" else logits.max(1).values
        (gradient,) = torch.autograd.grad(own.sum(), images)
        return gradient
