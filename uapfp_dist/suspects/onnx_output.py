"""What an ONNX model gives: which of its outputs is read, and that as a row for each image."""

import re
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from uapfp_dist.errors import UserError

MOST_VALUES = 1_000_000
"""Of a row."""


class DeclaredOutput(Protocol):
    """An output as ONNX Runtime describes it."""

    name: str
    type: str
    shape: Sequence[object] | None


def choose_output(whose: str, outputs: Sequence[DeclaredOutput], output: str, name: str, n_classes: int) -> str:
    """The name of the output to read.

    Args:
        whose: they are.
        outputs: all of them.
        output: what is wanted, see `OutputFormat`.
        name: the one that was named; empty: the only one, or the only one that can be what is wanted.
        n_classes: of the kit.

    Raises:
        UserError: no output of that name; several that it could be.
    """
    names = [one.name for one in outputs]
    if name in names or (not name and len(names) == 1):
        return name or names[0]
    listed = ", ".join(f"{one!a:.40}" for one in names[:8])
    if name:
        raise UserError(
            f"suspect {whose}: expected an output named {name!a:.40}, it has {listed}; name one of these",
            argument="output_tensor",
        )
    possible = [one.name for one in outputs if _can_be(one, output, n_classes)]
    if len(possible) != 1:
        raise UserError(f"suspect {whose}: expected one output, it has {listed}; name one", argument="output_tensor")
    return possible[0]


def _can_be(declared: DeclaredOutput, output: str, n_classes: int) -> bool:
    """Whether an output can hold what is wanted, by its type and shape."""
    others = [d for d in (declared.shape or [])[1:] if d != 1]
    if re.fullmatch(r"tensor\((string|u?int\d+)\)", declared.type):
        return output == "label" and not others
    if output == "label":
        return False
    is_maps = declared.type.startswith("seq(map(")
    if is_maps or not re.fullmatch(r"tensor\((float|double|float16)\)", declared.type):
        return is_maps
    return not declared.shape or (len(others) == 1 and (not isinstance(others[0], int) or others[0] == n_classes))


def rows_of(found: Any, n: int) -> list[Any]:
    """What a run gave for `n` images, as JSON values: labels, rows of numbers, or objects from names to numbers.

    Dimensions of 1 beside those of images and classes count for nothing, as in (n, C, 1, 1); of one image that of
    images may be missing.

    Raises:
        UserError: not one row of classes for each image.
    """
    if isinstance(found, list):
        if len(found) != n or not all(isinstance(row, dict) for row in found):
            raise UserError(f"suspect: expected {n} responses of the ONNX model, got {len(found)} of another kind")
        return [{str(key): float(value) for key, value in row.items()} for row in found]
    array = np.asarray(found)
    n_rows = len(array) if array.ndim else 1
    if n_rows != n and n != 1:
        raise UserError(f"suspect: expected {n} responses of the ONNX model, got {n_rows}")
    own = array.shape[1:] if n_rows == n else array.shape
    row = [dimension for dimension in own if dimension != 1]
    if len(row) > 1 or array.size > n * MOST_VALUES:
        raise UserError(
            f"suspect: expected a row of classes for each image, the ONNX model gives {array.shape}; name another "
            "output",
            argument="output_tensor",
        )
    return array.reshape(n, *row).tolist()
