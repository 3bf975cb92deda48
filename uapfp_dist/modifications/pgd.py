"""Adversarial training on PGD examples within a small radius (Madry et al., ICLR 2018)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.models.net import Net
from uapfp_dist.modifications.adversarial import RATE, train_on
from uapfp_dist.modifications.attacker import AttackerContext
from uapfp_dist.tasks.modification_specs import PgdTraining

STEP = 2.5
"""Length of all steps together, in radii: any point of the ball can be reached from any other."""


def pgd_training(net: Net, spec: PgdTraining, attacker: AttackerContext) -> Net:
    """`spec.iterations` steps of `net`, in place, on PGD examples of ATTACK and the unlabelled images, and on those.

    All have the labels that the net gave beforehand: an attacker lacks true ones for most.

    Raises:
        UserError: a number that is not positive.
    """
    if not (spec.radius > 0.0 and min(spec.iterations, spec.steps, spec.batch_size) >= 1):
        raise UserError(
            "PGD training: expected a radius above 0 and at least 1 iteration, step and image each, got "
            f"{spec.radius:g}, {spec.iterations}, {spec.steps} and {spec.batch_size}"
        )
    images = torch.cat([attacker.data.images, attacker.data.unlabelled])
    labels = predict_probabilities(net, images).argmax(1).to(images.device)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    for _ in range(spec.iterations):
        batch = torch.randint(len(images), (spec.batch_size,), generator=attacker.rng).to(images.device)
        clean, targets = images[batch], labels[batch]
        net.eval()
        adversarial = pgd_examples(net, clean, targets, spec.radius, spec.steps, attacker.rng)
        train_on(net, optimizer, adversarial, clean, targets)
    return net


def pgd_examples(net: Net, images: Tensor, labels: Tensor, radius: float, steps: int, rng: torch.Generator) -> Tensor:
    """Images of larger loss, from a random start: signed gradient steps, projected.

    Args:
        net: stays as it is.
        images: (B, c, h, w) in [0, 1].
        labels: (B,) int64.
        radius: largest change of a pixel.
        steps: of the ascent.
        rng: CPU generator of the start.

    Returns:
        (B, c, h, w) in [0, 1], no pixel further than `radius` from that of the image.
    """
    start = (torch.rand(images.shape, generator=rng) * 2 - 1).to(images.device) * radius
    low, high = (images - radius).clamp_min(0.0), (images + radius).clamp_max(1.0)
    found = (images + start).clamp(low, high)
    for _ in range(steps):
        found.requires_grad_(True)
        (gradient,) = torch.autograd.grad(F.cross_entropy(net(found), labels), found)
        found = (found.detach() + STEP * radius / steps * gradient.sign()).clamp(low, high)
    return found
