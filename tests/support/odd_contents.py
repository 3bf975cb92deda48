"""Image files that are cut short, empty, mislabelled, none at all, or too large for what they hold."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
from odd_files import (
    LEFT_OUT,
    REFUSED,
    SIDE,
    SUFFIXES,
    TEN,
    Odd,
    Rng,
    colours,
    encoded,
    kind,
    one_colour,
    pick,
    png,
    write,
)


@kind
def cut_short(folder: Path, rng: Rng) -> Odd:
    fmt = pick(rng, *TEN)
    whole = encoded(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8), fmt)
    return write(folder / f"x{SUFFIXES[fmt]}", whole[: int(len(whole) * rng.uniform(0.02, 0.9))], REFUSED)


@kind
def cut_short_without_a_suffix(folder: Path, rng: Rng) -> Odd:
    whole = encoded(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8), pick(rng, "PNG", "JPEG", "GIF", "TIFF"))
    return write(folder / "x", whole[: int(len(whole) * rng.uniform(0.2, 0.9))], REFUSED)


@kind
def whole_without_loss(folder: Path, rng: Rng) -> Odd:
    pixels, fmt = colours(rng), pick(rng, "PNG", "BMP", "TIFF", "PPM", "TGA")
    return write(folder / f"x{SUFFIXES[fmt]}", encoded(pixels, fmt), pixels)


@kind
def whole_with_loss(folder: Path, rng: Rng) -> Odd:
    pixels, fmt = one_colour(rng), pick(rng, "JPEG", "WEBP", "AVIF", "JPEG2000")
    suffix = pick(rng, ".jfif", ".jpe", ".JPEG") if fmt == "JPEG" else SUFFIXES[fmt]
    return write(folder / f"x{suffix}", encoded(pixels, fmt), pixels, 6)


@kind
def wrong_or_no_suffix(folder: Path, rng: Rng) -> Odd:
    pixels = colours(rng)
    name = pick(rng, "x.jpg", "x.webp", "x.gif", "x.dat", "x", "x.jpg.part", "x.txt", "x.tga")
    return write(folder / name, encoded(pixels, pick(rng, "PNG", "BMP", "TIFF")), pixels)


@kind
def empty(folder: Path, rng: Rng) -> Odd:
    suffix = pick(rng, ".jpg", ".png", ".gif", ".webp", ".tiff", ".heic")
    return write(folder / f"x{suffix}", b"", REFUSED, said="an empty file")


@kind
def text_as_image(folder: Path, rng: Rng) -> Odd:
    words = pick(
        rng, "<html>404 not found</html>", "version https://git-lfs.github.com/spec/v1\noid sha256:0", "P6", "#"
    )
    return write(folder / pick(rng, "x.jpg", "x.png", "x.bmp", "x.JPEG"), words.encode(), REFUSED)


@kind
def noise_as_image(folder: Path, rng: Rng) -> Odd:
    return write(folder / pick(rng, "x.jpg", "x.png", "x.gif", "x.webp"), b"\0" + rng.bytes(200), REFUSED)


@kind
def no_image(folder: Path, rng: Rng) -> Odd:
    suffix = pick(rng, ".txt", ".csv", ".npy", ".json", ".mp4", ".pdf", ".h5", ".bin", ".zip")
    data = (b"P1 is a patient", b"", b"\x93NUMPY", b"GIF, JPEG", b"\0" + rng.bytes(100))[int(rng.integers(5))]
    return write(folder / f"notes{suffix}", data, LEFT_OUT, said=f"no images by name or content, {suffix}: 1 (a/notes")


@kind
def other_pictures(folder: Path, rng: Rng) -> Odd:
    suffix = pick(rng, ".heic", ".svg", ".HEIF", ".nef", ".jxl", ".eps", ".dng")
    return write(folder / f"x{suffix}", b"\0\0\0\x18ftypheic" + rng.bytes(60), REFUSED, said="no format")


@kind
def enormous_in_the_header(folder: Path, rng: Rng) -> Odd:
    side = int(rng.integers(14_000, 2**31 - 1))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bitmap = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 0, 0, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    gif = b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0)
    data, name = ((png(header, (b"IDAT", b"")), "x.png"), (bitmap, "x.bmp"), (gif, "x.gif"))[int(rng.integers(3))]
    return write(folder / name, data, REFUSED)


@kind
def compressed_bomb(folder: Path, rng: Rng) -> Odd:
    pixels = colours(rng)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    note = b"note\0\0" + zlib.compress(b"\0" * int(rng.integers(2, 9)) * 2**20, 1)
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    return write(folder / "x.png", png(header, (b"zTXt", note), (b"IDAT", zlib.compress(rows))), REFUSED)


@kind
def flipped_bit(folder: Path, rng: Rng) -> Odd:
    """A PNG has checksums."""
    pixels = colours(rng)
    data = bytearray(encoded(pixels, "PNG"))
    data[int(rng.integers(16, len(data) - 16))] ^= 1 << int(rng.integers(8))
    return write(folder / "x.png", bytes(data), REFUSED)


@kind
def odd_name(folder: Path, rng: Rng) -> Odd:
    names = (
        "ä ö.png",
        "a\nb.png",
        "a\tb.png",
        '"q".png',
        "\u202egnp.x.png",
        "猫.png",
        "-x.png",
        "a\x1b[31m.png",
        "'.png",
    )
    name: str | bytes = pick(rng, *names, os.fsdecode(b"\xff\xfe.png"), "l" * 200 + ".png", " x .png", "x.png")
    pixels = colours(rng)
    if rng.random() < 0.5:
        return write(folder / str(name), b"no image", REFUSED)
    return write(folder / str(name), encoded(pixels, "PNG"), pixels)


@kind
def links_and_pipes(folder: Path, rng: Rng) -> Odd:
    path, pixels = folder / "x.png", colours(rng)
    target = folder.parent.parent / "elsewhere.png"
    target.write_bytes(encoded(pixels, "PNG"))
    case = int(rng.integers(6))
    if case == 0:
        os.mkfifo(path)
    elif case == 1:
        path.symlink_to(path)
    elif case == 2:
        path.symlink_to(folder / "nothing")
    if case <= 2:
        return Odd(path, REFUSED)
    if case == 3:
        path.symlink_to(target)
        return Odd(path, pixels)
    link = folder / "loop"
    link.symlink_to((folder, folder.parent)[case - 4])
    return Odd(link, LEFT_OUT, said="links to folders that are read already, not followed: 1 (a/loop)")


@kind
def large_photo(folder: Path, rng: Rng) -> Odd:
    """Shrunk by the decoder or by the resampling."""
    pixels = one_colour(rng, int(rng.integers(30, 400)), int(rng.integers(30, 400)))
    fmt = pick(rng, "JPEG", "PNG", "WEBP")
    wanted = np.broadcast_to(pixels[0, 0], (SIDE, SIDE, 3))
    return write(folder / f"x{SUFFIXES[fmt]}", encoded(pixels, fmt), wanted, 6, "stretched")
