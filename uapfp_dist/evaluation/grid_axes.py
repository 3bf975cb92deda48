"""Axes of a grid from `name=value,value`, in the types of what is varied.

A plain name (`n_points`, `top_k`, ...) is a field of `GridOverrides` and needs nothing but stored responses. A dotted
name (`encoder.tau`, `zoo.overlap`, ...) is a field of the configuration; where it changes models or the probe, those
are made first, once for all cells that share them.
"""

import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro

from uapfp_dist.config.schema import Config
from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.response_format import KNOWN, ResponseFormat
from uapfp_dist.tasks.hashing import has_wire_names, wire_names

JOIN = "+"
"""Between the values of a field that holds several: zoo.architectures=B+C,D+E."""


@wire_names("Knobs", "n_points top_k n_views xi loss architecture recovery")
@dataclass(frozen=True)
class GridOverrides:
    """What can be varied on stored responses; None leaves what the evaluation has."""

    n_points: int | None = None
    """Points per fingerprint: the first so many clusters."""
    top_k: int | None = None
    """Confidences that a suspect returns (0: the bare label); None: all, as with the number of classes."""
    n_views: int | None = None
    """Views the encoder learns from."""
    xi: float | None = None
    """Norm of the UAPs, one of uap.xi_fractions; None: the largest of them."""
    loss: Literal["supcon", "cross_entropy", "autoencoder"] | None = None
    """Of the encoder."""
    architecture: str | None = None
    """Architecture of all models that train the encoder; None: all architectures."""
    recovery: float | None = None
    """Detect checkpoints at this recovery rate, one of studies.recoveries; None: the test piracy."""


@dataclass(frozen=True)
class GridAxis:
    """One thing that is varied."""

    name: str
    values: tuple[Any, ...]


def parse_grid(texts: Sequence[str]) -> tuple[GridAxis, ...]:
    """Axes from `name=value,value`.

    Raises:
        UserError: no such name (the known ones are listed), or a value of another type.
    """
    axes: dict[str, GridAxis] = {}
    for text in texts:
        name, _, values = text.replace(" ", "").partition("=")
        name = name.replace("-", "_")
        if not values.strip(","):
            raise UserError(f"grid {text!r}: expected name=value,value, such as n_points=10,20,30", argument="grid")
        if name in axes:
            raise UserError(f"grid {name}: expected one list of values, got two; join them by commas", argument="grid")
        typed = [_typed(name, value) for value in values.split(",") if value]
        axes[name] = GridAxis(name, tuple(dict.fromkeys(typed)))
    return tuple(axes.values())


def figure_6(config: Config, n_classes: int) -> tuple[GridAxis, ...]:
    """Figure 6 left as a grid: numbers of points by numbers of confidences, the evaluation's own included."""
    own, studies = config.fingerprint.n_points, config.studies
    return (
        GridAxis("n_points", tuple(sorted({n for n in studies.n_points if n < own} | {own}))),
        GridAxis("top_k", tuple(sorted({k for k in studies.top_k if k < n_classes} | {0, n_classes}))),
    )


def in_text(value: Any) -> str:
    """A value as it is written in an axis: another text for every other value, which cells are named by."""
    if isinstance(value, tuple):
        return JOIN.join(map(in_text, value))
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


def _typed(name: str, text: str) -> Any:
    """`text` as a value of the field `name`, in the field's type."""
    kind = _type_of(name)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed):
            return tyro.cli(kind, args=["None" if part == "none" else part for part in text.split(JOIN)])
    except (SystemExit, UserError):
        raise UserError(f"grid {name}: expected {_expected(kind)}, got {text!r}", argument="grid") from None


def _expected(kind: Any) -> str:
    """A type for a person."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if kind is ResponseFormat:
        return KNOWN
    parts = get_args(kind)
    if get_origin(kind) is tuple:
        return f"{_expected(parts[0])}, several joined by {JOIN}"
    if get_origin(kind) is Literal:
        return f"one of {', '.join(parts)}"
    return " or ".join(map(_expected, parts)) if parts else {type(None): "none"}.get(kind, kind.__name__)


def _type_of(name: str) -> Any:
    """The type of an override or of a field of the configuration."""
    kind: Any = Config if "." in name else GridOverrides
    prefix = ""
    for part in name.split("."):
        hints = get_type_hints(kind, include_extras=True)
        if part not in hints:
            raise _unknown(name, (f"{prefix}{field}" for field in hints))
        kind, prefix = hints[part], f"{prefix}{part}."
        if not has_wire_names(kind):
            break
    if has_wire_names(kind) or prefix != f"{name}.":
        raise _unknown(
            name, [f"{prefix}{field.name}" for field in fields(kind)] if has_wire_names(kind) else [prefix[:-1]]
        )
    return kind


def _unknown(name: str, names: Iterable[str]) -> UserError:
    hint = "" if "." in name else "; or a field of the configuration, such as encoder.tau or zoo.overlap"
    return UserError(f"{unknown_name('name in a grid', name, names)}{hint}", argument="grid")
