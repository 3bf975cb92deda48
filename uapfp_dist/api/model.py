"""Any torch module as a model of this package."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from uapfp_dist.api.images import checked_images
from uapfp_dist.errors import UserError
from uapfp_dist.messages import one_line
from uapfp_dist.models.custom import ModuleNet
from uapfp_dist.models.net import Net

FIRST = 64
"""Images of the first batch that are checked."""


class WrappedModel(ModuleNet):
    """A module that takes images in [0, 1] and gives logits; `wrap` makes it. Checked on first use."""

    def __init__(self, module: nn.Module, n_classes: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(module, len(mean), n_classes)
        self._used = False
        self.mean.copy_(torch.tensor(mean).view_as(self.mean))
        self.std.copy_(torch.tensor(std).view_as(self.std))

    def features(self, images: Tensor) -> Tensor:
        """(B, c, h, w) in [0, 1] to (B, C) logits: the last layer of a foreign module is not known.

        Raises:
            UserError: on first use: images outside [0, 1], a module that does not take them, or gives no logits.
        """
        if self._used:
            return super().features(images)
        checked_images(images[:FIRST], "images", any_float=True)
        try:
            logits = super().features(images)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"module: expected one that takes images {tuple(images.shape)}, it raised {type(error).__name__}: "
                f"{one_line(error)}",
                argument="module",
            ) from error
        _check_logits(logits, len(images), self.n_classes)
        self._used = True
        return logits


def wrap(
    module: nn.Module,
    n_classes: int,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
) -> Net:
    """Any torch module that gives logits, as a model that takes images in [0, 1].

    It is not copied, and nothing here changes its weights. Its output is checked on first use.

    Args:
        module: from normalised images (B, c, h, w) to logits (B, n_classes): the layer before any softmax.
        n_classes: at least 2.
        mean: subtracted from images in [0, 1] before the module sees them: one number, or one for each channel.
        std: above 0; the images are divided by it after that; one number, or one for each channel.

    Returns:
        a module from (B, c, h, w) in [0, 1] to (B, n_classes) logits, in evaluation mode.

    Raises:
        UserError: not a module, no parameters, a wrong mean or std; on first use: images outside [0, 1], another
            number of classes, probabilities in place of logits, NaN.

    >>> import torch, uapfp_dist as ufp
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    >>> model = ufp.wrap(net, n_classes=10, mean=0.3, std=0.4)
    >>> model(torch.rand(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    >>> ufp.wrap(torch.nn.Sequential(net, torch.nn.Softmax(1)), n_classes=10)(torch.rand(5, 1, 8, 8))
    Traceback (most recent call last):
    uapfp_dist.errors.UserError: module: expected logits, got probabilities (rows that sum to 1); leave out the softmax
    """
    if not isinstance(module, nn.Module):
        raise UserError(f"module: expected a torch module, got {type(module).__name__}", argument="module")
    if isinstance(module, Net):
        raise UserError(
            f"module: expected one of your own, got a model of uapfp_dist ({type(module).__name__}); use it as it is",
            argument="module",
        )
    if next(module.parameters(), None) is None:
        raise UserError("module: expected one with parameters, got none", argument="module")
    if n_classes < 2:
        raise UserError(f"n_classes: expected at least 2, got {n_classes}", argument="n_classes")
    means, stds = _per_channel(mean), _per_channel(std)
    n = max(len(means), len(stds))
    if {len(means), len(stds)} - {1, n} or n == 0 or not min(stds) > 0:
        raise UserError(
            f"std: expected a number above 0, or one for each channel as of mean, got mean {mean} and std {std}",
            argument="std",
        )
    wrapped = WrappedModel(module, n_classes, means * (n // len(means)), stds * (n // len(stds)))
    return wrapped.to(next(module.parameters()).device).eval()


def _per_channel(value: float | Sequence[float]) -> list[float]:
    return [float(value)] if isinstance(value, int | float) else [float(one) for one in value]


def _check_logits(logits: Tensor, n: int, n_classes: int) -> None:
    if tuple(logits.shape) != (n, n_classes):
        raise UserError(
            f"n_classes: expected logits {(n, n_classes)} of the module, got {tuple(logits.shape)}; give "
            f"n_classes={logits.shape[1]}, or another module",
            argument="n_classes",
        )
    if not bool(logits.isfinite().all()):
        raise UserError("module: expected finite logits, got NaN or infinity; check its weights", argument="module")
    if bool((logits >= 0).all()) and bool(((logits.sum(1) - 1).abs() < 1e-3).all()):
        raise UserError(
            "module: expected logits, got probabilities (rows that sum to 1); leave out the softmax", argument="module"
        )
