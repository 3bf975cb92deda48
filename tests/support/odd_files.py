"""Files of images that are damaged or odd: how they are written, and what must become of each."""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 8
Rng = np.random.Generator
REFUSED, LEFT_OUT = "refused", "left out"


@dataclass(frozen=True)
class Odd:
    """A file that was written, and what must become of it."""

    path: Path
    wanted: np.ndarray | str
    """(8, 8, 3) pixels of an image, `REFUSED` or `LEFT_OUT`."""
    tolerance: int = 0
    """Greatest difference of a pixel, where a codec or a colour space rounds."""
    said: str = ""
    """Part of a line that must be printed of it."""


Writer = Callable[[Path, Rng], Odd]
KINDS: dict[str, Writer] = {}


def kind(write: Writer) -> Writer:
    """Register a kind by the name of its function."""
    KINDS[write.__name__] = write
    return write


def colours(rng: Rng) -> np.ndarray:
    """(8, 8, 3) noise."""
    return rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def one_colour(rng: Rng, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """What codecs keep nearly, and resizing keeps."""
    return np.broadcast_to(rng.integers(0, 256, 3, dtype=np.uint8), (height, width, 3)).copy()


def encoded(pixels: np.ndarray | Image.Image, fmt: str, **options: object) -> bytes:
    """The bytes of an image file."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def three(grey: np.ndarray) -> np.ndarray:
    """(h, w) to three equal channels."""
    return np.repeat(grey[..., None], 3, axis=2)


def write(path: Path, data: bytes, wanted: np.ndarray | str, tolerance: int = 0, said: str = "") -> Odd:
    """Write `data`."""
    path.write_bytes(data)
    return Odd(path, wanted, tolerance, said)


def pick(rng: Rng, *values: object) -> str:
    """One of them."""
    return str(values[int(rng.integers(len(values)))])


def png(ihdr: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of chunks, with right checksums."""
    found = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", ihdr), *chunks, (b"IEND", b"")):
        found += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return found


def png_of(values: np.ndarray, depth: int, colour: int) -> bytes:
    """A PNG of (h, w, c) unsigned values, without filters."""
    rows = b"".join(b"\0" + row.astype(f">u{depth // 8}").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, colour, 0, 0, 0)
    return png(header, (b"IDAT", zlib.compress(rows)))


def tiff(values: np.ndarray, bits: int, photometric: int = 1, sample_format: int = 1) -> bytes:
    """A little-endian TIFF of one channel, made by hand."""
    data = values.tobytes()
    tags = [
        (256, 4, values.shape[1]), (257, 4, values.shape[0]), (258, 3, bits), (259, 3, 1), (262, 3, photometric),
        (273, 4, 8), (277, 3, 1), (278, 4, values.shape[0]), (279, 4, len(data)), (339, 3, sample_format),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, form, 1, value) for tag, form, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0"


TEN = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM", "TGA", "JPEG2000")
SUFFIXES = {
    "PNG": ".png", "JPEG": ".JPG", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif", "WEBP": ".webp", "AVIF": ".avif",
    "PPM": ".ppm", "TGA": ".tga", "JPEG2000": ".jp2",
}  # fmt: skip
