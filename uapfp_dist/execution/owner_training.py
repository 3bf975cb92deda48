"""A sibling of the victim, trained by a function of the owner's."""

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from uapfp_dist.concurrency import HungError, run_within
from uapfp_dist.data.splits import index_digest
from uapfp_dist.errors import UserError
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.owner_weights import take_weights
from uapfp_dist.messages import one_line
from uapfp_dist.models.custom import ModuleNet, import_function, source_digest
from uapfp_dist.models.net import Net
from uapfp_dist.tasks.specs import ModelSpec, OwnerTrained

T = TypeVar("T")
SIGNATURE = "train(images, labels, seed, device) -> nn.Module"
MOST_SEED = 2**32
"""Seeds are below it, so that every library takes them."""
COMPARED_IMAGES = 32
"""On which the module that was returned must say what the factory's says with its weights."""
TOLERANCE = 1e-2
"""Of logits there, relative to the largest: the arithmetic of training may be coarser."""
PASSING = (MemoryError, torch.OutOfMemoryError, torch.AcceleratorError)
"""Errors that are none of the function's: another worker may succeed."""


def training_function(path: str, mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> OwnerTrained:
    """The origin of models that the function at `path` trains.

    Args:
        path: `package.module:function`.
        mean, std: of the victim's preprocessing, where it was given apart from its module.

    Raises:
        UserError: no function there.
    """
    return OwnerTrained(path, source_digest(import_function(path, "train", SIGNATURE)), mean, std)


def train_sibling(context: TaskContext, spec: ModelSpec, origin: OwnerTrained, seed: int) -> tuple[Net, str]:
    """Have the owner's function train on D_v, and take its weights; returns the net and the digest of D_v.

    Args:
        context: its `owner_seconds` bound the training.
        spec: of the sibling.
        origin: of `spec`.
        seed: for the function, which gets it modulo 2**32.

    Raises:
        UserError: the function fails, takes too long, or gives anything but such a module with finite weights.
    """
    function = import_function(origin.function, "train", SIGNATURE)
    if source_digest(function) != origin.source:
        raise _refusal(origin, "the file that the enrolment began with, this one differs; give every node the same")
    dataset, splits = context.data(spec.data)
    images, labels = dataset.pixels(splits.d_v, context.device), dataset.labels[splits.d_v].to(context.device)
    compared = images[:COMPARED_IMAGES].clone()
    module = _called(origin, lambda: function(images, labels, seed % MOST_SEED, context.device), context.owner_seconds)
    if not isinstance(module, nn.Module):
        raise _refusal(origin, f"a torch module, it gave {type(module).__name__}")
    if isinstance(module, ModuleNet):  # mean and std are the victim's, whatever it was wrapped with
        module = module.module
    net = context.empty(spec)
    weights = {name: tensor.detach() for name, tensor in module.state_dict().items()}
    try:
        take_weights(net, weights, origin.mean, origin.std)
    except UserError as error:
        raise _refusal(origin, f"a module of the victim's architecture ({error})") from error
    _check_same_net(origin, module.to(context.device).eval(), net.eval(), compared, weights, dataset.n_classes)
    return net, index_digest(splits.d_v)


def _called(origin: OwnerTrained, call: Callable[[], T], seconds: float) -> T:
    """The result of the owner's function."""
    try:
        return run_within(call, seconds)
    except PASSING:
        raise
    except HungError as error:
        expected = f"a model within {seconds:g} s, got none; make it faster, or raise spec_timeout"
        raise _refusal(origin, expected) from error
    except (Exception, SystemExit) as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        cause = f"{type(error).__name__}: {one_line(error)}, {Path(frame.filename).name}:{frame.lineno}"
        raise _refusal(origin, f"a trained model, it failed ({cause})") from error


def _check_same_net(
    origin: OwnerTrained, module: nn.Module, net: Net, images: Tensor, weights: Mapping[str, Tensor], n_classes: int
) -> None:
    """The module must be the factory's: with another forward pass its weights would be those of another model."""
    inside = not isinstance(net, ModuleNet) and {"mean", "std"} <= weights.keys()  # it normalises images itself
    with torch.no_grad():
        try:
            normalised = images if inside else (images - net.mean) / net.std
            given = module(net.prepare(normalised) if isinstance(net, ModuleNet) else normalised)
        except Exception as error:
            cause = f"{type(error).__name__}: {one_line(error)}"
            raise _refusal(origin, f"a module that takes images, it failed ({cause})") from error
        expected = net(images)
    shape = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
    if shape != (len(images), n_classes):
        raise _refusal(origin, f"logits of shape {(len(images), n_classes)} from its module, got {shape}")
    if not given.isfinite().all():
        raise _refusal(origin, "finite logits from its module, got NaN or infinity")
    if (given - expected).abs().max() > TOLERANCE * expected.abs().max().clamp_min(1.0):
        raise _refusal(
            origin, "the factory's module, its own says other than the factory's with its weights; return that one"
        )


def _refusal(origin: OwnerTrained, expected: str) -> UserError:
    return UserError(f"train {origin.function}: expected {expected}", argument="train")
