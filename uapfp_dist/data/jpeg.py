"""Images as JPEG files, and the pixels that a decoder reads from them, which are not those that were compressed."""

import io
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from uapfp_dist.errors import UserError

CHANNELS = (1, 3)
"""That a JPEG file can have."""


def check_jpeg(quality: int | None, channels: int) -> None:
    """Accept what JPEG files can hold.

    Args:
        quality: from 1 to 100; None: no files are wanted.
        channels: of an image.

    Raises:
        UserError: anything else.
    """
    if quality is None:
        return
    if not 1 <= quality <= 100:
        raise UserError(f"jpeg_quality: expected 1 to 100, got {quality}", argument="jpeg_quality")
    if channels not in CHANNELS:
        raise UserError(
            f"jpeg_quality: expected images with 1 or 3 channels for JPEG files, got {channels}; leave it out",
            argument="jpeg_quality",
        )


def jpeg_files(images: Tensor, quality: int) -> list[bytes]:
    """A file of each image, every channel at full resolution.

    Args:
        images: (B, c, h, w) uint8, c 1 (grey) or 3 (red, green, blue).
        quality: from 1 to 100, as libjpeg has it.
    """
    from PIL import Image  # a tenth of a second to import

    found = []
    for image in images.cpu().numpy():
        file = io.BytesIO()
        pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        Image.fromarray(np.ascontiguousarray(pixels)).save(file, format="JPEG", quality=quality, subsampling=0)
        found.append(file.getvalue())
    return found


def jpeg_pixels(files: Sequence[bytes]) -> Tensor:
    """(B, c, h, w) uint8 that are read from files of one size."""
    from PIL import Image  # likewise

    arrays = [np.array(Image.open(io.BytesIO(file))) for file in files]
    return torch.stack([torch.from_numpy(a[None] if a.ndim == 2 else a.transpose(2, 0, 1).copy()) for a in arrays])


def as_read(images: Tensor, quality: int | None) -> Tensor:
    """(B, c, h, w) uint8 as they are read from JPEG files of that quality; None, or no image: as they are."""
    return images if quality is None or not len(images) else jpeg_pixels(jpeg_files(images, quality))
