"""Modifications of a model, stolen or not (paper Section 5.4). Each returns a modified copy."""

from typing import Literal

import torch
from torch import Tensor

from uapfp_dist.api.checks import (
    checked_data,
    checked_model,
    digest,
    images_of,
    n_classes_of,
    told_in_one_line,
    weights_digest,
)
from uapfp_dist.api.images import LabelledImages
from uapfp_dist.api.training import Architecture, architecture_name, new_net, recipe_of
from uapfp_dist.errors import UserError
from uapfp_dist.models import Net
from uapfp_dist.models.custom import ModuleNet
from uapfp_dist.modifications import AttackerData, modify
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.rng import seed_of, torch_rng
from uapfp_dist.tasks.hashing import content_id
from uapfp_dist.tasks.modification_specs import AdversarialTraining, Distill, FineTune, Int8, ModificationSpec, Prune
from uapfp_dist.tasks.specs import Recipe


def finetune(
    model: Net,
    data: LabelledImages,
    *,
    epochs: float = 10.0,
    layers: Literal["all", "last", "new_last"] = "all",
    optimizer: str = "adam",
    batch_size: int = 64,
    seed: int = 0,
) -> Net:
    """Fine-tune, at a tenth of the learning rate of `train`.

    Args:
        model: stays as it is.
        data: the attacker's labelled images, such as `data.attacker`.
        epochs: passes over them, above 0.
        layers: all; last, the last layer alone; new_last, that layer from new random weights, at the full rate.
        optimizer, batch_size: as for `train`.
        seed: of the order of the images.

    Raises:
        UserError: an unknown name, a number out of range, the last layer of a wrapped module, a model in INT8.
    """
    model, data = checked_model(model, "model"), checked_data(data, "data", model)
    if layers != "all" and isinstance(model, ModuleNet):
        raise UserError(
            f"layers: expected all for a module of your own, whose last layer is not known, got {layers}",
            argument="layers",
        )
    recipe = recipe_of(optimizer, batch_size, epochs * len(data))
    return _modified(model, FineTune(epochs, layers), recipe, seed, images=data.images, labels=data.labels)


def prune(
    model: Net,
    share: float,
    *,
    data: LabelledImages | None = None,
    recovery_epochs: float = 0.0,
    optimizer: str = "adam",
    batch_size: int = 64,
    seed: int = 0,
) -> Net:
    """Set the smallest weights to zero, by magnitude over all convolutions and linear layers (Zhu and Gupta, 2018).

    Args:
        model: stays as it is.
        share: of those weights, between 0 and 1.
        data: labelled images to recover on; None: no recovery.
        recovery_epochs: passes over those afterwards; pruned weights stay zero.
        optimizer, batch_size, seed: of the recovery.

    Raises:
        UserError: a number out of range, recovery without data, a model in INT8.

    >>> import torch, uapfp_dist as ufp
    >>> model = ufp.wrap(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)), n_classes=10)
    >>> int((ufp.prune(model, 0.4).module[1].weight == 0).sum())
    256
    """
    model = checked_model(model, "model")
    if recovery_epochs and data is None:
        raise UserError("data: expected labelled images with recovery_epochs, got none; give some", argument="data")
    recipe, spec = recipe_of(optimizer, batch_size, 1), Prune(share, recovery_epochs)
    if data is None:
        return _modified(model, spec, recipe, seed)
    data = checked_data(data, "data", model)
    return _modified(model, spec, recipe, seed, images=data.images, labels=data.labels)


def int8(model: Net, images: LabelledImages | Tensor, *, n_images: int = 500, seed: int = 0) -> Net:
    """Quantise convolutions and linear layers to 8-bit integers (Jacob et al., CVPR 2018); then only `distill` applies.

    Args:
        model: stays as it is.
        images: (N, c, h, w) in [0, 1] on which the ranges of the activations are measured.
        n_images: how many of those are drawn; all where there are fewer.
        seed: of the draw.

    Raises:
        UserError: images outside [0, 1], layers that cannot be quantised, a model in INT8 already.
    """
    model, images = checked_model(model, "model"), images_of(images, "images")
    return _modified(model, Int8(n_images), recipe_of("adam", 64, 1), seed, images=images)


def distill(
    model: Net,
    images: LabelledImages | Tensor,
    *,
    architecture: Architecture = "C",
    labels: str = "probabilities",
    epochs: float = 30.0,
    optimizer: str = "adam",
    batch_size: int = 64,
    width: int = 8,
    augment: bool = False,
    seed: int = 0,
) -> Net:
    """Train a new model, often of another architecture, on the responses of this one (Hinton et al., 2015).

    Args:
        model: stays as it is.
        images: (N, c, h, w) in [0, 1], such as `data.pool`; their labels are not used.
        architecture: of the student, as for `train`.
        labels: what it learns: probabilities, label, or top<k> such as top3.
        epochs: passes over the images.
        optimizer, batch_size, width, augment, seed: as for `train`.

    Raises:
        UserError: an unknown name, a number out of range, images outside [0, 1].
    """
    model, images = checked_model(model, "model"), images_of(images, "images")
    recipe = recipe_of(optimizer, batch_size, epochs * len(images), augment)
    number = seed_of("distill", architecture_name(architecture), width, weights_digest(model), digest(images), seed)
    c, h, w = images.shape[1:]
    student = new_net(architecture, (c, h, w), n_classes_of(model), width, number, images.device)
    spec = Distill(ResponseFormat.parse(labels, argument="labels"))
    return _modified(model, spec, recipe, seed, unlabelled=images, student=student)


def adversarial_training(
    model: Net,
    data: LabelledImages,
    *,
    iterations: int = 30,
    labels: Literal["own", "true"] = "own",
    clip: bool = False,
    batch_size: int = 128,
    seed: int = 0,
) -> Net:
    """Train on DeepFool examples of the current model and on as many clean images (paper Fig. 8 right).

    Args:
        model: stays as it is.
        data: the attacker's labelled images.
        iterations: steps, at least 1; the paper goes up to 270.
        labels: own, those that the model gave before this training; true, those of `data`.
        clip: clip the examples to [0, 1], which undoes nearly all of them.
        batch_size: images in a step, and as many examples.
        seed: of the choice of images.

    Raises:
        UserError: an unknown name, a number out of range, a model in INT8.
    """
    model, data = checked_model(model, "model"), checked_data(data, "data", model)
    spec = AdversarialTraining(iterations, labels=labels, clip=clip, batch_size=batch_size)
    return _modified(model, spec, recipe_of("sgd", 64, 1), seed, images=data.images, labels=data.labels)


def _modified(
    model: Net,
    spec: ModificationSpec,
    recipe: Recipe,
    seed: int,
    *,
    images: Tensor | None = None,
    labels: Tensor | None = None,
    unlabelled: Tensor | None = None,
    student: Net | None = None,
) -> Net:
    """What a modification does not use is left out."""
    device = next(model.parameters()).device
    no_images, no_labels = torch.zeros(0, 1, 1, 1, device=device), torch.zeros(0, dtype=torch.int64, device=device)
    data = AttackerData(
        no_images if images is None else images,
        no_labels if labels is None else labels,
        no_images if unlabelled is None else unlabelled,
    )
    number = seed_of(content_id(spec), weights_digest(model), digest(*vars(data).values()), seed)
    with told_in_one_line():
        return modify(model, spec, data, recipe, torch_rng(number), student=student)
