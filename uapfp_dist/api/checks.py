"""Checks of arguments: errors of one line that say what was expected, what was given and what to do."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral

import torch
from torch import Tensor, nn

from uapfp_dist.api.images import LabelledImages, checked_images
from uapfp_dist.errors import PermanentError, UserError
from uapfp_dist.messages import one_line
from uapfp_dist.models.blackbox import Blackbox, BudgetExceededError, check_finite, predict_probabilities
from uapfp_dist.models.custom import ModuleNet
from uapfp_dist.models.net import Net
from uapfp_dist.tasks.specs import DataSpec, Imported, ModelSpec, Recipe


def checked_model(model: object, argument: str, otherwise: str = "") -> Net:
    """A model of this package.

    Args:
        model: what was given.
        argument: as what.
        otherwise: ends the error, with what else may be given.

    Raises:
        UserError: a plain module, whose number of classes and preprocessing are not known; something else.
    """
    if isinstance(model, Net):
        return model
    got = type(model).__name__
    if isinstance(model, nn.Module):
        raise UserError(
            f"{argument}: expected a wrapped model, got the module {got}; wrap it: "
            "uapfp_dist.wrap(module, n_classes=..., mean=..., std=...)",
            argument=argument,
        )
    raise UserError(
        f"{argument}: expected a model, got {got}; wrap, train or extract gives one{otherwise}", argument=argument
    )


def checked_models(models: Sequence[object], argument: str) -> list[Net]:
    """Several of them.

    Raises:
        UserError: one model instead of a list; and as `checked_model`.
    """
    if not isinstance(models, Sequence):
        raise UserError(f"{argument}: expected a list of models, got {type(models).__name__}", argument=argument)
    return [checked_model(model, argument) for model in models]


def n_classes_of(net: Net) -> int:
    """The number of its logits."""
    return net.n_classes if isinstance(net, ModuleNet) else len(net.last.weight)


def check_classes(net: Net, n_classes: int, argument: str) -> None:
    """A model has the classes of the images that it is used with.

    Raises:
        UserError: it has more, or fewer.
    """
    if (own := n_classes_of(net)) != n_classes:
        raise UserError(
            f"{argument}: expected a model of the {n_classes} classes of the images, got one of {own}; "
            "give it images of its own data set",
            argument=argument,
        )


def checked_data(data: object, argument: str, net: Net | None = None) -> LabelledImages:
    """Images with labels, of the classes of `net`.

    Raises:
        UserError: something else, or other classes.
    """
    if not isinstance(data, LabelledImages):
        raise UserError(
            f"{argument}: expected LabelledImages, got {type(data).__name__}; load gives some, such as "
            "data.victim_set, or make them: LabelledImages(images, labels, n_classes)",
            argument=argument,
        )
    if net is not None:
        check_classes(net, data.n_classes, "model")
    return data


def images_of(images: object, argument: str) -> Tensor:
    """The images of a tensor, or those of LabelledImages.

    Raises:
        UserError: not (N, c, h, w) float32 in [0, 1].
    """
    return images.images if isinstance(images, LabelledImages) else checked_images(images, argument)


def outputs_of(net: Net, images: Tensor, whose: str, argument: str) -> Tensor:
    """(Q, C) probabilities of a model for (Q, c, h, w) images, all of them finite.

    Args:
        net: of `whose`.
        images: given as `argument`.
        whose: the model's argument.
        argument: the images' argument.

    Raises:
        UserError: it gives NaN or infinity, or raises at such images, whose shape may not be what it takes.
    """
    with told_in_one_line():
        try:
            outputs = predict_probabilities(net, images)
        except (UserError, PermanentError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # of a module of the user's anything
            raise _not_taken(argument, f"the {whose} takes", images, error) from error
        check_finite(outputs, whose)
    return outputs


def _not_taken(argument: str, expected: str, images: Tensor, error: Exception) -> UserError:
    """Images at which a model raises."""
    return UserError(
        f"{argument}: expected images that {expected}, got {'x'.join(map(str, images.shape[1:]))}, at which it "
        f"raises {type(error).__name__}: {one_line(error)}; if it takes another shape, scale them first, as by "
        "torchvision.transforms.functional.resize",
        argument=argument,
    )


class PoolVictim(Blackbox):
    """A victim queried with an attacker's pool; its error says so if it may not take images of that shape."""

    def __call__(self, images: Tensor) -> Tensor:
        """As `Blackbox`.

        Raises:
            UserError: and if the model raises at the first images, whose shape may not be what it takes.
        """
        try:
            return super().__call__(images)
        except (UserError, PermanentError, BudgetExceededError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # of a module of the user's anything
            if self.queries > len(images):  # it has answered images of this shape
                raise
            raise _not_taken("pool", "the victim takes", images, error) from error


def check_range(argument: str, value: float, least: float, most: float = float("inf")) -> None:
    """A number lies in a range.

    Raises:
        UserError: it does not.
    """
    if not least <= value <= most:
        limits = f"at least {least:g}" if most == float("inf") else f"{least:g} to {most:g}"
        raise UserError(f"{argument}: expected {limits}, got {value:g}", argument=argument)


def check_finite_number(argument: str, value: float) -> None:
    """A number is neither infinite nor NaN.

    Raises:
        UserError: it is.
    """
    if not math.isfinite(value):
        raise UserError(f"{argument}: expected a finite number, got {value:g}", argument=argument)


def check_whole(argument: str, value: float, least: int = 1, most: float = float("inf")) -> None:
    """A whole number lies in a range.

    Raises:
        UserError: it does not, or is no whole number.
    """
    check_range(argument, value, least, most)
    if not isinstance(value, Integral):
        raise UserError(f"{argument}: expected a whole number, got {value:g}; round it", argument=argument)


def spec_of(net: Net, data: LabelledImages | None = None) -> ModelSpec:
    """A spec that names a model in hand by its weights: ids made of it seed the random choices."""
    at = DataSpec("in memory", digest(data.images) if data else "", 0, 0.0, (0.0, 0.0, 0.0))
    return ModelSpec(at, type(net).__name__, 0, Recipe("its owner's", 0, 0), Imported(weights_digest(net)), 0)


def weights_digest(net: nn.Module) -> str:
    """64 hexadecimal digits over the weights and buffers."""
    return digest(*net.state_dict().values())


def digest(*tensors: Tensor) -> str:
    """64 hexadecimal digits over shapes and values."""
    sha = hashlib.sha256()
    for tensor in tensors:
        sha.update(str(tuple(tensor.shape)).encode())
        sha.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """Errors that trying again cannot mend, such as a model that gives NaN, become the user's.

    Raises:
        UserError: in place of a `PermanentError`.
    """
    try:
        yield
    except PermanentError as error:
        raise UserError(str(error)) from error
