"""What a file is, by its content: an image that is read in a certain way, a damaged one, or no image at all."""

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from uapfp_dist.data.file_names import shown
from uapfp_dist.errors import UserError

CERTAIN = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "JPEG2000")
"""Formats told by their first bytes, whatever the file's name. Others are tried where the name says so."""
NO_PICTURES = frozenset(("EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG", "PDF"))
"""Formats that Pillow lists and does not decode by itself."""
OTHER_SUFFIXES = frozenset(
    {
        *(".heic", ".heif", ".hif", ".jxl", ".svg", ".eps", ".ps", ".wmf", ".emf", ".exr", ".hdr", ".jxr", ".wdp"),
        *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw"),
    }
)
"""Of pictures that Pillow does not read."""
SIGNATURES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP")
"""First bytes that nothing but an image has."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF's orientation to what turns the image upright."""
ORIENTATION, PHOTOMETRIC, WHITE_IS_ZERO = 274, 262, 0


@dataclass(frozen=True)
class Header:
    """An image, as its first bytes describe it."""

    size: tuple[int, int]
    """(height, width) of the image upright."""
    grey: bool
    """One channel, and no palette."""
    remarks: tuple[str, ...]
    """What is changed or left out when it is read, as kinds of a `Tally`."""
    shrinks: bool
    """Decoded at an eighth, a quarter or a half of its size where that is enough."""


def read_header(path: Path) -> Header | None:
    """The header of the image at `path`; None: something else, as its name says, too.

    Raises:
        UserError: an image, by its name or its first bytes, that cannot be read.
    """
    if not _is_file(path):
        if _named_image(path):
            raise image_error(path, "no regular file")
        return None
    try:
        with opened(path) as image:
            return _header(image)
    except UserError:
        raise
    except Exception as error:  # of damaged files Pillow raises anything
        if _named_image(path) or _looks_like_image(path):
            raise image_error(path, cause_of(path, error)) from error
        return None


@contextmanager
def opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    """The image at `path`, its header read; Pillow's warnings are not shown, as what they are about is counted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path, formats=_formats(path)) as image:
            yield image


def image_error(path: Path, cause: str) -> UserError:
    """The line that names a file and what is wrong with it."""
    return UserError(f"expected an image in {shown(path)}, got {cause}; repair it, convert it or move it away")


def cause_of(path: Path, error: Exception) -> str:
    """What Pillow's `error` says of the file at `path`."""
    if isinstance(error, UnidentifiedImageError):
        return "no format that Pillow reads" if os.path.getsize(path) else "an empty file"
    if isinstance(error, Image.DecompressionBombError):
        return f"one of more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = "".join(letter if letter.isprintable() else " " for letter in str(text))
    return f"one that cannot be decoded ({' '.join(text.split())[:120] or type(error).__name__})"


def orientation_of(image: Image.Image) -> int:
    """EXIF's, 2 to 8 where the image must be turned, as far as it has been read; else 1.

    Raises:
        Exception: EXIF that cannot be read.
    """
    found = Image.Image.getexif(image).get(ORIENTATION, 1)  # a PNG's own would decode it
    return found if isinstance(found, int) and found in TURNS else 1


def _header(image: ImageFile.ImageFile) -> Header:
    remarks = []
    try:
        orientation = orientation_of(image)
    except Exception:  # as above
        orientation = 1
        remarks.append("with EXIF that cannot be read, not turned")
    if orientation != 1:
        remarks.append("turned upright, as EXIF says")
    turned = orientation >= 5 and image.format != "TIFF"  # Pillow turns these itself
    width, height = image.size[::-1] if turned else image.size
    mode, raw = image.mode, str(image.tile[0].args) if getattr(image, "tile", None) else ""
    if image.format == "TIFF" and mode[0] in "IF" and _photometric(image) == WHITE_IS_ZERO:
        raise ValueError("its greys have white at zero")
    if mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        remarks.append(f"converted from {mode} to RGB")
    if mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        remarks.append("with transparency, which is dropped")
    if mode[0] not in "IF" and ("16" in raw or _most(image) > 255):
        remarks.append("with 16 bits per channel, of which the high 8 are read")
    if image.format != "PSD" and getattr(image, "is_animated", False):
        remarks.append("with several frames, the first of which is read")
    grey = mode in ("1", "L", "F") or mode[0] == "I"
    return Header((height, width), grey, tuple(remarks), image.format in ("JPEG", "MPO"))


def _photometric(image: Image.Image) -> object:
    """Which end of a TIFF's scale is white; Pillow heeds it for 8 bits alone."""
    return getattr(image, "tag_v2", {}).get(PHOTOMETRIC)


def _most(image: ImageFile.ImageFile) -> int:
    """The largest value of a PPM, which Pillow scales to 8 bits."""
    args = image.tile[0].args if image.format == "PPM" and getattr(image, "tile", None) else None
    return max((x for x in args if isinstance(x, int)), default=0) if isinstance(args, tuple) else 0


def _formats(path: Path) -> list[str]:
    """Those of any name, and the one that the file's name says."""
    named = Image.registered_extensions().get(path.suffix.lower())
    return [*CERTAIN, *([named] if named and named not in NO_PICTURES and named not in CERTAIN else [])]


def _named_image(path: Path) -> bool:
    suffix = path.suffix.lower()
    named = Image.registered_extensions().get(suffix)
    return suffix in OTHER_SUFFIXES or (named is not None and named not in NO_PICTURES)


def _looks_like_image(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(16).startswith(SIGNATURES)
    except OSError:
        return False


def _is_file(path: Path) -> bool:
    """Not a pipe or a device, whose reading may never end.

    Raises:
        UserError: a link to nothing, or a file that cannot be looked at.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        raise image_error(path, f"nothing that can be opened ({error.strerror})") from error
