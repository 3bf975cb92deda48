"""Adversarial training on DeepFool examples (Madry et al., 2018; paper Fig. 8 right, protocol 2.14)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.models.net import Net
from uapfp_dist.models.training import CLIP
from uapfp_dist.modifications.attacker import AttackerContext
from uapfp_dist.perturbations.deepfool import deepfool
from uapfp_dist.tasks.modification_specs import AdversarialTraining

RATE = 0.05
"""Constant, without momentum: the optimizer has no state, so iterations can be split into several trainings."""

CANDIDATES = 5
"""Classes whose boundaries DeepFool considers: on ten classes the same mean l2 as with all, in half the time."""


def adversarial_training(net: Net, spec: AdversarialTraining, attacker: AttackerContext) -> Net:
    """`spec.iterations` steps of `net`, in place, after `spec.start` earlier ones.

    Each step crafts DeepFool examples of images of ATTACK against the current net and takes one step of plain SGD on
    them and on the images themselves, all with the labels that `spec.labels` names. An image to which the net gives
    another label is an adversarial example already and stays as it is.

    Raises:
        UserError: no iterations, no images, or unknown labels.
    """
    if spec.iterations < 1 or spec.start < 0 or spec.batch_size < 1:
        raise UserError(
            "adversarial training: expected at least 1 iteration and 1 image each after a start of at least 0, got "
            f"{spec.iterations} iterations of {spec.batch_size} images after {spec.start}"
        )
    if spec.labels not in ("own", "true"):
        raise unknown_name("labels for adversarial training", spec.labels, ("own", "true"))
    images, labels = attacker.data.images, attacker.data.labels
    if spec.labels == "own":
        labels = predict_probabilities(attacker.teacher, images).argmax(1).to(images.device)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    for _ in range(spec.iterations):
        batch = torch.randint(len(images), (spec.batch_size,), generator=attacker.rng).to(images.device)
        clean, targets = images[batch], labels[batch]
        net.eval()
        adversarial = clean + deepfool(net, clean, targets, n_candidates=CANDIDATES).delta
        if spec.clip:
            adversarial = adversarial.clamp(0.0, 1.0)
        train_on(net, optimizer, adversarial, clean, targets)
    return net


def train_on(net: Net, optimizer: torch.optim.Optimizer, adversarial: Tensor, clean: Tensor, targets: Tensor) -> None:
    """One step on (B, c, h, w) adversarial examples and the images that they were made of, of equal (B,) labels."""
    net.train()
    loss = F.cross_entropy(net(torch.cat([adversarial, clean])), torch.cat([targets, targets]))
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), CLIP)
    optimizer.step()
