"""One image file to 8-bit pixels of a given size: every value is right, or the file is refused by name."""

from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from PIL import Image, ImageCms

from uapfp_dist.data.image_header import TURNS, Header, cause_of, image_error, opened, orientation_of
from uapfp_dist.errors import UserError

BITS_PER_SAMPLE = 258
GREYS_16, GREYS_12, FRACTIONS = (
    "of 16 bits, divided by 257",
    "of 12 bits, scaled by 255/4095",
    "of 0 to 1, scaled by 255",
)
"""How values are scaled."""
GAP = 2
"""How much larger than wanted an image is decoded where the decoder can shrink it: the rest is averaged."""


@dataclass(frozen=True)
class Pixels:
    """An image as it is used."""

    values: np.ndarray
    """(h, w) or (h, w, 3) uint8."""
    scaled: str = ""
    """How values were scaled to 8 bits; empty: not at all."""
    greys: tuple[float, float] = (0, 255)
    """Least and largest value before that."""


def read_pixels(path: Path, header: Header, mode: str, size: tuple[int, int]) -> Pixels:
    """The image at `path` in Pillow's `mode` ("L" or "RGB"), upright, stretched to `size` (height, width).

    Raises:
        UserError: a damaged image, or values whose scale is not known; names the file.
    """
    try:
        with opened(path) as image:
            if header.shrinks and header.size != size:
                _shrink(image, header, size)
            image.load()
            if image.format == "PNG":
                _check_png(path)
            picture, scaled, greys = _eight_bits(image)
            if image.format != "TIFF":  # those are turned already
                picture = _upright(picture, image)
            picture = _colours(picture, mode)
    except UserError:
        raise
    except Exception as error:  # of damaged files Pillow raises anything
        raise image_error(path, cause_of(path, error)) from error
    if picture.size != (wanted := (size[1], size[0])):
        picture = picture.resize(wanted, Image.Resampling.BILINEAR, reducing_gap=3.0)
    return Pixels(np.array(picture), scaled, greys)


def _shrink(image: Image.Image, header: Header, size: tuple[int, int]) -> None:
    """Have the decoder of a JPEG shrink it, but not below `GAP` times `size`."""
    height, width = size if (header.size[1], header.size[0]) == image.size else size[::-1]
    image.draft(None, (GAP * width, GAP * height))


def _upright(picture: Image.Image, image: Image.Image) -> Image.Image:
    try:
        orientation = orientation_of(image)
    except Exception:  # the header's remark says so
        return picture
    return picture.transpose(TURNS[orientation]) if orientation in TURNS else picture


def _eight_bits(image: Image.Image) -> tuple[Image.Image, str, tuple[float, float]]:
    """(greys scaled to 8 bits, how, least and largest value before).

    Raises:
        ValueError: values whose scale is not known.
    """
    if image.mode[0] not in "IF":
        return image, "", (0, 255)
    values = np.asarray(image)
    low, high = values.min().item(), values.max().item()
    kind, most = FRACTIONS, 1
    if image.mode != "F":
        is_12_bit = image.format == "TIFF" and getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE) == (12,)
        kind, most = (GREYS_12, 4095) if is_12_bit else (GREYS_16, 65535)
        if image.mode == "I" and image.format not in ("PNG", "PPM"):
            raise ValueError(f"greys from {low} to {high} of 32 bits or with a sign; 8 or 16 bits have a known scale")
    if not 0 <= low <= high <= most:  # also NaN
        raise ValueError(f"greys from {low:g} to {high:g}; 0 to {most} have a known scale")
    scaled = np.rint(values.astype(np.float64) * (255 / most)).astype(np.uint8)
    return Image.fromarray(scaled), kind, (low, high)


def _colours(picture: Image.Image, mode: str) -> Image.Image:
    """As torchvision's loader converts: transparency is dropped, not blended."""
    if picture.mode == "LAB":
        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(picture, lab, rgb, outputMode="RGB")
        assert converted is not None
        return converted
    if picture.mode in ("RGBa", "La"):  # the only way that Pillow goes from there
        picture = picture.convert({"RGBa": "RGBA", "La": "LA"}[picture.mode])
    return picture if picture.mode == mode else picture.convert(mode)


def _check_png(path: Path) -> None:
    """Compare the checksums of what a PNG's pixels are made of: Pillow does not, and reads wrong pixels.

    Raises:
        ValueError: a chunk that is damaged or cut short.
    """
    data = path.read_bytes()
    position = 8
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        end = position + 8 + length
        body, stored = data[position + 4 : end], data[end : end + 4]
        if body[:1].isupper() and crc32(body).to_bytes(4, "big") != stored:
            raise ValueError(f"damaged, by the checksum of {body[:4]!r}")
        if body[:4] == b"IEND":
            return
        position = end + 4
