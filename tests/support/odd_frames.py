"""Image files that are turned, or hold several frames."""

import struct
import zlib
from pathlib import Path

import numpy as np
from odd_files import SIDE, SUFFIXES, Odd, Rng, colours, encoded, kind, one_colour, pick, png, three, write
from PIL import Image


@kind
def turned(folder: Path, rng: Rng) -> Odd:
    """Every orientation of EXIF, in every format that has it; what is none changes nothing."""
    upright = colours(rng)
    orientation = int(pick(rng, 1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 4711))
    stored = {
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }.get(orientation, lambda a: a)(upright)
    exif = Image.Exif()
    exif[274] = orientation
    fmt = pick(rng, "PNG", "TIFF", "WEBP")
    options: dict[str, object] = {"lossless": True} if fmt == "WEBP" else {}
    said = "turned upright" if 2 <= orientation <= 8 else ""
    data = encoded(np.ascontiguousarray(stored), fmt, exif=exif, **options)
    return write(folder / f"x{SUFFIXES[fmt]}", data, upright, said=said)


@kind
def turned_after_the_pixels(folder: Path, rng: Rng) -> Odd:
    """A PNG may have its EXIF at its end."""
    upright = colours(rng)
    stored = np.rot90(upright)
    exif = Image.Exif()
    exif[274] = 6
    rows = b"".join(b"\0" + row.tobytes() for row in stored)
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    return write(folder / "x.png", png(header, (b"IDAT", zlib.compress(rows)), (b"eXIf", body)), upright)


@kind
def torn_exif(folder: Path, rng: Rng) -> Odd:
    pixels = one_colour(rng)
    if rng.random() < 0.5:
        return write(folder / "x.png", encoded(pixels, "PNG", exif=rng.bytes(30)), pixels)
    return write(folder / "x.jpg", encoded(pixels, "JPEG", exif=b"Exif\0\0II*\0" + rng.bytes(40)), pixels, 6)


@kind
def several_frames(folder: Path, rng: Rng) -> Odd:
    first, second = colours(rng), one_colour(rng)
    fmt = pick(rng, "PNG", "TIFF", "WEBP")
    options: dict[str, object] = {"lossless": True} if fmt == "WEBP" else {}
    data = encoded(first, fmt, save_all=True, append_images=[Image.fromarray(second)], **options)
    return write(folder / f"x{SUFFIXES[fmt]}", data, first, said="several frames, the first of which is read: 1")


@kind
def several_pictures_of_a_camera(folder: Path, rng: Rng) -> Odd:
    first, second = one_colour(rng), one_colour(rng)
    if rng.random() < 0.5:
        data = encoded(first, "MPO", save_all=True, append_images=[Image.fromarray(second)])
        return write(folder / "x.jpg", data, first, 6, "several frames")
    grey = [Image.fromarray(np.full((SIDE, SIDE), value, np.uint8)) for value in rng.choice(256, 2, replace=False)]
    data = encoded(grey[0], "GIF", save_all=True, append_images=grey[1:])
    return write(folder / "x.gif", data, three(np.asarray(grey[0])), said="several frames")
