"""What a file or a server declares of its input: obeyed, or an error that says what to give."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.suspects.suspect import InputMismatchError

Dimensions = Sequence[object]
"""Declared dimensions, the batch first; what is no positive integer is free. Empty: nothing is declared."""


def check_declared(
    whose: str, given: InputFormat, shape: tuple[int, int, int], declared: Dimensions, dtype: np.dtype[Any]
) -> None:
    """Accept a declared input that the images fit into as they are.

    Args:
        whose: declares it.
        given: how images are prepared.
        shape: (c, h, w) of the kit's images.
        declared: its dimensions.
        dtype: its data type.

    Raises:
        InputMismatchError: an integer type for fractions, each of which it would cut off; other dimensions.
    """
    if np.issubdtype(dtype, np.integer):
        if np.iinfo(dtype).max < 255:
            raise InputMismatchError(
                f"suspect {whose}: expected an input that holds pixels from 0 to 255, it declares {dtype}; wrap it in "
                "one that takes those",
                argument="at",
            )
        if not given.integral:
            has = f"scale {given.scale}{' with mean or std' if given.mean or given.std else ''}"
            raise InputMismatchError(
                f"suspect {whose}: its input is declared as {dtype}, which would cut off the fractions that {has} "
                "gives; give scale 0-255 without mean and std",
                argument="scale",
            )
    sent = given.array_shape(shape)
    if declared and not _fits(declared, sent):
        change = _change(declared, given, shape)
        advice = f"give {change}" if change else "no form of ours fits: write a function that calls it"
        raise InputMismatchError(
            f"suspect {whose}: its input is declared as {_shown(declared)}, images would be sent as "
            f"{_shown(('N', *sent))}; {advice}",
            argument="layout",
        )


def _fits(declared: Dimensions, sent: tuple[int, ...]) -> bool:
    return len(declared) == len(sent) + 1 and all(
        not _fixed(d) or d == s for d, s in zip(declared[1:], sent, strict=True)
    )


def _fixed(dimension: object) -> bool:
    return isinstance(dimension, int) and dimension > 0


def _change(declared: Dimensions, given: InputFormat, shape: tuple[int, int, int]) -> str:
    """What to give instead, in words; empty where nothing simple fits."""
    if len(declared) == 2 and given.layout != "flat":
        return "layout flat"
    c, h, w = given.image_shape(shape)
    if len(declared) == 3 and c == 1 and given.layout != "NHW":
        size = [side if _fixed(side) else own for side, own in zip(declared[1:], (h, w), strict=True)]
        return f"layout NHW{'' if size == [h, w] else f', size {size[0]} {size[1]}'}"
    if len(declared) != 4:
        return ""
    for layout, (channels, height, width) in {"NCHW": declared[1:], "NHWC": (declared[3], *declared[1:3])}.items():
        to_three = channels == 3 and shape[0] == 1
        if _fixed(channels) and channels != c and not to_three:
            continue
        changes = [f"layout {layout}"] if layout != given.layout else []
        changes += ["channels RGB or BGR"] if to_three and c != 3 else []
        size = [side if _fixed(side) else own for side, own in ((height, h), (width, w))]
        changes += [f"size {size[0]} {size[1]}"] if size != [h, w] else []
        return ", ".join(changes)
    return ""


def _shown(dimensions: Dimensions) -> str:
    return " x ".join(str(d) if _fixed(d) else "N" if i == 0 else "?" for i, d in enumerate(dimensions))
