"""Image files in greys, 16 bits, fractions, with transparency, palettes, or other spaces of colours."""

from pathlib import Path

import numpy as np
from odd_files import REFUSED, SIDE, SUFFIXES, Odd, Rng, colours, encoded, kind, one_colour, png_of, three, tiff, write
from PIL import Image


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
