"""Generated image files that are damaged or odd, and what must become of each."""

import io
import os
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
def greys(folder: Path, rng: Rng) -> Odd:
    grey = rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    if rng.random() < 0.5:
        return write(folder / "x.png", encoded(grey, "PNG"), three(grey), said="grey images among colours")
    bits = Image.fromarray(grey).point(lambda value: 255 * (value > 99), "1")
    return write(folder / "x.png", encoded(bits, "PNG"), three(np.where(grey > 99, 255, 0).astype(np.uint8)))


@kind
def greys_of_16_bits(folder: Path, rng: Rng) -> Odd:
    deep = rng.integers(0, 65536, (SIDE, SIDE), dtype=np.uint16)
    wanted = three(np.round(deep / 257).astype(np.uint8))
    pgm = b"P5 8 8 65535\n" + deep.astype(">u2").tobytes()
    cases = [(png_of(deep[..., None], 16, 0), "x.png"), (pgm, "x.pgm"), (tiff(deep, 16), "x.tif")]
    cases.append((encoded(Image.fromarray(deep.astype(">u2")), "TIFF"), "x.tiff"))
    data, name = cases[int(rng.integers(4))]
    return write(folder / name, data, wanted, said=f"images of 16 bits, divided by 257: 1 (a/{name})")


@kind
def colours_of_16_bits(folder: Path, rng: Rng) -> Odd:
    deep = rng.integers(0, 65536, (SIDE, SIDE, 3), dtype=np.uint16)
    wanted, said = np.round(deep / 257).astype(np.uint8), "16 bits per channel"
    if rng.random() < 0.5:
        return write(folder / "x.png", png_of(deep, 16, 2), wanted, 1, said)
    return write(folder / "x.ppm", b"P6 8 8 65535\n" + deep.astype(">u2").tobytes(), wanted, 1, said)


@kind
def greys_of_no_known_scale(folder: Path, rng: Rng) -> Odd:
    ints = rng.integers(0, 70_000, (SIDE, SIDE), dtype=np.int32)
    cases = [
        tiff(ints, 32, sample_format=2),
        tiff((ints - 9000).astype(np.int16), 16, sample_format=2),
        tiff(ints.astype(np.uint16), 16, photometric=0),
    ]
    return write(folder / "x.tif", cases[int(rng.integers(3))], REFUSED)


@kind
def fractions(folder: Path, rng: Rng) -> Odd:
    values = rng.random((SIDE, SIDE), dtype=np.float32)
    wanted = three(np.round(values.astype(np.float64) * 255).astype(np.uint8))
    if rng.random() < 0.3:
        return write(folder / "x.pfm", b"Pf\n8 8\n-1.0\n" + values[::-1].astype("<f4").tobytes(), wanted)
    return write(folder / "x.tif", tiff(values, 32, sample_format=3), wanted, said="of 0 to 1, scaled by 255")


@kind
def fractions_of_no_known_scale(folder: Path, rng: Rng) -> Odd:
    values = rng.random((SIDE, SIDE), dtype=np.float32)
    values[3, 3] = (1.01, -0.1, np.nan, np.inf, 255.0)[int(rng.integers(5))]
    return write(folder / "x.tif", tiff(values, 32, sample_format=3), REFUSED, said="known scale")


@kind
def transparent(folder: Path, rng: Rng) -> Odd:
    pixels, said = colours(rng), "with transparency, which is dropped: 1"
    alpha = np.dstack([pixels, rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)])
    if rng.random() < 0.5:
        return write(folder / "x.png", encoded(alpha, "PNG"), pixels, said=said)
    grey = Image.fromarray(alpha[..., 2].copy())
    grey.putalpha(Image.fromarray(alpha[..., 3].copy()))
    return write(folder / "x.png", encoded(grey, "PNG"), three(alpha[..., 2]), said=said)


@kind
def palette(folder: Path, rng: Rng) -> Odd:
    table, index = rng.integers(0, 256, (256, 3), dtype=np.uint8), rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    image = Image.fromarray(index)
    image.putpalette(table.tobytes())
    if rng.random() < 0.5:
        return write(folder / "x.png", encoded(image, "PNG", transparency=rng.bytes(256)), table[index], said="dropped")
    return write(folder / "x.gif", encoded(image, "GIF"), table[index])


@kind
def cmyk(folder: Path, rng: Rng) -> Odd:
    """Pillow's conversion: (255 - ink) (255 - black) / 255."""
    inks = rng.integers(0, 256, 4)
    image = Image.new("CMYK", (SIDE, SIDE), tuple(int(ink) for ink in inks))
    rgb = np.broadcast_to((255 - inks[:3]) * (255 - inks[3]) / 255, (SIDE, SIDE, 3))
    fmt, tolerance = ("TIFF", 1) if rng.random() < 0.5 else ("JPEG", 6)
    data = encoded(image, fmt)
    return write(folder / f"x{SUFFIXES[fmt]}", data, rgb.round().astype(np.uint8), tolerance, "converted from CMYK")


@kind
def lab(folder: Path, rng: Rng) -> Odd:
    """Greys: L* to luminance to sRGB, by the formulas of CIE and IEC."""
    lightness = int(rng.integers(0, 256))
    y = ((t := lightness / 255 * 100) + 16) / 116
    linear = y**3 if t > 8 else t / 903.3
    value = 255 * (12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055)
    image = Image.frombytes("LAB", (SIDE, SIDE), bytes((lightness, 0, 0)) * SIDE**2)
    return write(
        folder / "x.tif", encoded(image, "TIFF"), three(np.full((SIDE, SIDE), round(value), np.uint8)), 2, "LAB"
    )


@kind
def ycbcr(folder: Path, rng: Rng) -> Odd:
    pixels = one_colour(rng)
    image = Image.fromarray(pixels).convert("YCbCr")
    return write(folder / "x.tif", encoded(image, "TIFF"), pixels, 3, "converted from YCbCr")


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
