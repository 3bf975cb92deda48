"""The one size of all images of a folder, and whether there is memory for them."""

from collections.abc import Sequence

import numpy as np

from uapfp_dist.data.memory import available_memory, gigabytes
from uapfp_dist.errors import UserError

LARGEST = 224
"""Longer side at most, where the median is larger and no size was given: that of ImageNet's nets."""
KEPT = 512
"""Images that all have one size keep it up to this longer side."""
COPIES = 3
"""The pixels as bytes, and half of them as floats where a model trains on D_v."""
DECODING = 12
"""Bytes per pixel of an image while it is decoded, turned and converted."""

Size = tuple[int, int]
"""(height, width)"""


def choose_size(sizes: Sequence[Size], wanted: Size | None) -> tuple[Size, str]:
    """The size of all images, and a line that says why.

    Args:
        sizes: of each image.
        wanted: what was asked for; None: that of all images if they have one, else their median.
    """
    different = sorted(set(sizes), key=lambda size: (size[0] * size[1], size))
    if wanted is None and len(different) == 1 and max(different[0]) <= KEPT:
        return different[0], f"size {text(different[0])}, that of every image"
    of = f"{len(sizes)} images of {text(different[0])}"
    if len(different) > 1:
        of = f"{len(sizes)} images from {text(different[0])} to {text(different[-1])}"
    size = wanted or _median(sizes)
    why = "as asked for" if wanted else "the median"
    if not wanted and max(np.median(np.array(sizes), axis=0)) > LARGEST:
        why += f", at most {LARGEST} on the longer side,"
    n_other, n_smaller = sum(s != size for s in sizes), sum(s[0] < size[0] or s[1] < size[1] for s in sizes)
    stretched = f"; {n_other} are stretched to it, {n_smaller} of them enlarged" if n_other else ""
    other = "" if wanted else "; data.size sets another"
    return size, f"size {text(size)} (height x width), {why} of {of}{stretched}{other}"


def _median(sizes: Sequence[Size]) -> Size:
    """Of heights and of widths, reduced to `LARGEST` with its proportions."""
    height, width = np.median(np.array(sizes), axis=0)
    scale = min(1.0, LARGEST / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def check_memory(n_images: int, channels: int, size: Size, largest: Size) -> None:
    """Predict what decoding takes, and training on the images, before any of it is taken.

    Args:
        n_images: number of images.
        channels: of each.
        size: of each, decoded.
        largest: of the largest image in its file.

    Raises:
        UserError: more than there is.
    """
    pixels = n_images * channels * size[0] * size[1]
    needed, there = COPIES * pixels + DECODING * largest[0] * largest[1], available_memory()
    if there is not None and needed > there:
        raise UserError(
            f"data.size: expected images that fit into the {gigabytes(there)} of memory that are free, {n_images} of "
            f"{channels}x{text(size)} need {gigabytes(pixels)}, {gigabytes(needed)} with what decodes them and trains "
            "on them; choose a smaller size or fewer classes",
            argument="data.size",
        )


def text(size: Size) -> str:
    """Height x width."""
    return f"{size[0]}x{size[1]}"
