"""Nets exactly as torchvision and timm publish them: their own layers, names of weights, and size of images."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from uapfp_dist.errors import UserError, nearest
from uapfp_dist.messages import one_line
from uapfp_dist.models.architecture_names import PublishedName, published_name
from uapfp_dist.models.custom import ModuleNet
from uapfp_dist.models.initialisation import initialise
from uapfp_dist.models.net import Net
from uapfp_dist.models.torchvision_nets import INCEPTIONS, INPUT_SIDE, TorchvisionNet, names


class PublishedNet(ModuleNet):
    """A net of a library, from random weights: its module's state_dict is the library's own.

    Args:
        architecture: `torchvision:NAME` or `timm:NAME`; with `@SIDE` for images of that side, else those it was
            published for.
        shape: (c, h, w) of an image; a grey one becomes three equal channels, one of another size is resampled.
        n_classes: number of logits.

    Raises:
        UserError: no such net, images of two channels, no timm.
    """

    rate_scale: ClassVar[Mapping[str, float]] = TorchvisionNet.rate_scale

    def __init__(self, architecture: str, shape: tuple[int, int, int], n_classes: int) -> None:
        if shape[0] not in (1, 3):
            raise UserError(
                f"architecture {architecture}: expected images of 1 or 3 channels, got {shape[0]}; write a factory",
                argument="architecture",
            )
        which = published_name(architecture)
        module, side = _timm(which, n_classes) if which.package == "timm" else _torchvision(which.name, n_classes)
        super().__init__(module, 3, n_classes)
        self.architecture = architecture
        self.side: int | None = which.side or side
        """Of the images that the module gets; None: they are taken as they come."""

    def normalise_by(self, images: Tensor) -> None:
        """Set mean and std: the module has no preprocessing of its own."""
        Net.normalise_by(self, images)

    def prepare(self, normalised: Tensor) -> Tensor:
        """(B, c, h, w) to (B, 3, side, side)."""
        images = normalised.expand(-1, 3, -1, -1)
        if self.side is None or tuple(images.shape[2:]) == (self.side, self.side):
            return images
        return F.interpolate(images, size=(self.side, self.side), mode="bilinear", antialias=True)

    def body(self, normalised: Tensor) -> Tensor:
        """(B, c, h, w) to (B, C) logits.

        Raises:
            UserError: the net takes images of one size, which this is not.
        """
        images = self.prepare(normalised)
        try:
            return super().body(images)
        except AssertionError as error:  # of transformers, whose positions are counted
            raise UserError(
                f"architecture {self.architecture}: it does not take images of {images.shape[2]} x {images.shape[3]} "
                f"({one_line(error)}); give another side",
                argument="architecture",
            ) from error


def _torchvision(name: str, n_classes: int) -> tuple[nn.Module, int]:
    """The module, and the side of its images."""
    if name not in names():
        raise UserError(
            f"architecture torchvision:{name}: torchvision has no such classification net{nearest(name, names())}",
            argument="architecture",
        )
    # Auxiliary heads answer in training alone.
    options: dict[str, Any] = {"aux_logits": False, "init_weights": False} if name in INCEPTIONS else {}
    module: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=n_classes, **options)
    if name in INCEPTIONS:  # their published initialisation is far too small for training from scratch
        initialise(module)
    return module, int(getattr(module, "image_size", 0)) or _published_side(name)


def _published_side(name: str) -> int:
    """Of the images by which torchvision's own weights were evaluated; those are not loaded."""
    weights = torchvision.models.get_model_weights(name)
    crop = weights.DEFAULT.transforms.keywords.get("crop_size", INPUT_SIDE)
    return int(crop)


def _timm(which: PublishedName, n_classes: int) -> tuple[nn.Module, int]:
    """Likewise."""
    try:
        import timm
    except ImportError as error:
        raise UserError(
            "architecture: nets of timm need the extra: pip install 'uapfp_dist[timm]'", argument="architecture"
        ) from error
    if not timm.is_model(which.name.partition(".")[0]):
        close = nearest(which.name, timm.list_models())
        raise UserError(f"architecture timm:{which.name}: timm has no such net{close}", argument="architecture")
    try:
        module: nn.Module = timm.create_model(which.name, pretrained=False, num_classes=n_classes)
    except Exception as error:  # whatever its constructors raise
        raise UserError(
            f"architecture timm:{which.name}: timm cannot make it for {n_classes} classes ({one_line(error)}); name "
            "another, or write a factory",
            argument="architecture",
        ) from error
    size = (getattr(module, "pretrained_cfg", None) or {}).get("input_size") or (3, INPUT_SIDE, INPUT_SIDE)
    return module, int(size[-1])
