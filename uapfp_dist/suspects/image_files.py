"""Images as files: PNG, which holds the same pixels, or a kit's own JPEG files."""

import io

import numpy as np

from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.suspects.suspect import InputMismatchError


def check_files(given: InputFormat, shape: tuple[int, int, int], kind: str = "png") -> None:
    """Accept a form of input in which images can be sent as files: 8 bits, one channel or three.

    Args:
        given: how images are prepared; of it size, resampling and channels apply to a file.
        shape: (c, h, w) of the kit's images.
        kind: png, or jpeg: files that are there already, which are sent as they are.

    Raises:
        InputMismatchError: anything that a file cannot hold; nothing was sent.
    """
    fixed = ("scale", "mean", "std", "layout", *(("size", "channels") if kind == "jpeg" else ()))
    for name in fixed:
        if getattr(given, name) != getattr(InputFormat(), name):
            why = "the kit's JPEG files, as they are" if kind == "jpeg" else "PNG files"
            raise InputMismatchError(
                f"{name}: expected none, images are sent as {why}, which hold 8 bits and their own layout; leave it "
                "out",
                argument=name,
            )
    if (channels := given.image_shape(shape)[0]) not in (1, 3):
        raise InputMismatchError(
            f"request: expected images with 1 or 3 channels for a PNG file, got {channels}; send {{pixels}}",
            argument="request",
        )


def png_files(pixels: np.ndarray) -> list[bytes]:
    """PNG files of (B, c, h, w) uint8 pixels, c 1 (grey) or 3 (red, green, blue): lossless."""
    from PIL import Image  # a tenth of a second to import

    found = []
    for image in pixels:
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))).save(
            file, format="PNG"
        )
        found.append(file.getvalue())
    return found
