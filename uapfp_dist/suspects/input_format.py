"""How a suspect takes its images: size, channels, pixel values, layout, data type."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from uapfp_dist.errors import UserError

Layout = Literal["NCHW", "NHWC", "NHW", "flat"]
Scale = Literal["0-1", "0-255", "signed"]
Channels = Literal["same", "RGB", "BGR"]
LARGEST = 1e30
"""Of a mean or std."""
Resampling = Literal["bilinear", "bicubic", "nearest"]


@dataclass(frozen=True)
class InputFormat:
    """How images are prepared for a suspect, from the 8 bits per value that a kit holds.

    In this order: resized, channels, scaled, (x - mean) / std, laid out. Arithmetic is in float32, as torchvision's.

    Raises:
        UserError: a mean or std that normalises nothing, or a size that is none.
    """

    layout: Layout = "NCHW"
    """Order of batch, channels, height and width; NHW: without channels, for grey images; flat: one row of c*h*w values
    per image, channels first."""
    scale: Scale = "0-1"
    """0-1: the 8-bit value k is sent as k/255; 0-255: as the integer k; signed: as k/127.5 - 1, in [-1, 1]."""
    channels: Channels = "same"
    """same: as in the kit; RGB, BGR: three channels in this order, a grey one repeated."""
    mean: tuple[float, ...] = ()
    """Subtracted after scaling: one for all channels, or one for each in the order that is sent; none: 0."""
    std: tuple[float, ...] = ()
    """Divided by after that, likewise; none: 1."""
    size: tuple[int, ...] = ()
    """Height and width, or one side of a square; none: the kit's."""
    resampling: Resampling = "bilinear"
    """How images are resized: on 8 bits, antialiased unless nearest, as torchvision's Resize does."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not all(abs(value) < LARGEST for value in self.mean):
            raise UserError(f"mean: expected numbers of single precision, got {_shown(self.mean)}", argument="mean")
        if not all(1 / LARGEST < value < LARGEST for value in self.std):
            raise UserError(
                f"std: expected numbers of single precision above 0, got {_shown(self.std)}", argument="std"
            )
        if (self.mean or self.std) and self.scale == "signed":
            raise UserError(
                "scale signed: expected no mean or std beside it, it is mean .5 and std .5 itself; leave one out",
                argument="scale",
            )
        if len(self.size) > 2 or not all(1 <= side <= 4096 for side in self.size):
            raise UserError(
                f"size: expected one side or height and width, from 1 to 4096, got {_shown(self.size)}", argument="size"
            )

    @property
    def integral(self) -> bool:
        """Whether the values are the integers 0 to 255."""
        return self.scale == "0-255" and not self.mean and not self.std

    def image_shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """(c, h, w) that is sent for a kit's (c, h, w).

        Raises:
            UserError: RGB or BGR for images that have neither one channel nor three; NHW for more than one; a mean or
                std for another number of channels.
        """
        c, h, w = shape
        if self.channels != "same" and c not in (1, 3):
            raise UserError(
                f"channels {self.channels}: expected images with 1 or 3 channels, the kit's have {c}; leave it out",
                argument="channels",
            )
        c = c if self.channels == "same" else 3
        if self.layout == "NHW" and c != 1:
            raise UserError(
                f"layout NHW: expected images with 1 channel, got {c}; give NHWC or NCHW", argument="layout"
            )
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (0, 1, c):
                raise UserError(
                    f"{name}: expected one number, or one for each of the {c} channels, got {len(values)}",
                    argument=name,
                )
        height, width = (self.size * 2)[:2] if self.size else (h, w)
        return c, height, width

    def array_shape(self, shape: tuple[int, int, int]) -> tuple[int, ...]:
        """Dimensions of one image in the array, without the batch, for a kit's (c, h, w)."""
        c, h, w = self.image_shape(shape)
        return {"NCHW": (c, h, w), "NHWC": (h, w, c), "NHW": (h, w), "flat": (c * h * w,)}[self.layout]

    def pixels(self, images: Tensor) -> np.ndarray:
        """(B, c, h, w) uint8 to the same, resized and with the channels that are sent: what a file of an image holds.

        Raises:
            UserError: see `image_shape`.
        """
        c, h, w = self.image_shape(tuple(images.shape[1:]))  # type: ignore[arg-type]
        pixels = _resized(images.cpu(), (h, w), self.resampling).numpy()
        if pixels.shape[1] < c:
            pixels = np.repeat(pixels, c, axis=1)
        return pixels[:, ::-1] if self.channels == "BGR" else pixels

    def encode(self, images: Tensor) -> np.ndarray:
        """(B, c, h, w) uint8 to the suspect's array: float32, or uint8 at scale 0-255 without mean or std.

        Raises:
            UserError: see `image_shape`.
        """
        pixels = self.pixels(images)
        pixels = self._normalised(pixels)
        if self.layout == "NHWC":
            pixels = pixels.transpose(0, 2, 3, 1)
        elif self.layout == "NHW":
            pixels = pixels[:, 0]
        elif self.layout == "flat":
            pixels = pixels.reshape(len(pixels), -1)
        return pixels.copy()

    def _normalised(self, pixels: np.ndarray) -> np.ndarray:
        if self.integral:
            return pixels
        # The division is in float32, as for the models of the kit.
        values = pixels.astype(np.float32)
        if self.scale == "0-1":
            values /= np.float32(255)
        if self.scale == "signed":
            values = values / np.float32(127.5) - np.float32(1)
        if self.mean:
            values -= np.array(self.mean, np.float32).reshape(1, -1, 1, 1)
        if self.std:
            values /= np.array(self.std, np.float32).reshape(1, -1, 1, 1)
        return values


def _resized(images: Tensor, size: tuple[int, int], resampling: Resampling) -> Tensor:
    if tuple(images.shape[2:]) == size:
        return images
    from torchvision.transforms.v2 import InterpolationMode  # seconds to import
    from torchvision.transforms.v2.functional import resize

    found: Tensor = resize(images, list(size), InterpolationMode(resampling), antialias=resampling != "nearest")
    assert found.dtype == torch.uint8
    return found


def _shown(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
