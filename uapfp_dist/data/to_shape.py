"""Images of one data set as a model of another takes them."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from uapfp_dist.errors import UserError

MODES = {1: "L", 3: "RGB"}
"""Channels to Pillow's mode."""


def to_shape(images: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Images with other channels and of another size, still in 8 bits.

    Colours become grey by their luma (ITU-R 601-2), greys three equal channels; sides are stretched by bilinear
    interpolation with antialiasing. Pillow does both in integers: the bits are the same on every machine.

    Args:
        images: (N, c, h, w) uint8, c 1 or 3.
        shape: (c, h, w) wanted.

    Raises:
        UserError: neither 1 nor 3 channels.
    """
    if tuple(images.shape[1:]) == shape:
        return images
    channels, height, width = shape
    if not {images.shape[1], channels} <= MODES.keys():
        raise UserError(
            f"images: expected 1 or 3 channels to change into each other, got {images.shape[1]}, {channels}"
        )
    found = torch.empty(len(images), *shape, dtype=torch.uint8)
    for i, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        picture = Image.fromarray(np.ascontiguousarray(image if image.shape[2] == 3 else image[:, :, 0]))
        if channels == 1:
            picture = picture.convert("L")
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        values = torch.from_numpy(np.array(picture))
        found[i] = values.permute(2, 0, 1) if values.dim() == 3 else values  # a grey one fills all channels
    return found
