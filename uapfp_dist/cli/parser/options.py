"""The options of a dataclass: names, values and texts, as tyro makes them."""

import ast
import inspect
import textwrap
import types
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro

METAVARS = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}


@dataclass(frozen=True)
class Option:
    """An option of a command line."""

    name: str
    """As it is typed after the dashes: zoo.n-piracy."""
    metavar: str
    """What its value is; empty for a switch."""
    choices: tuple[str, ...]
    """The only values that it takes; empty: others."""
    text: str
    """Its documentation."""
    default: object
    """MISSING where it must be given."""
    may_be_none: bool = False
    """Whether it also takes None."""
    section: str = ""
    """What the dataclass that it belongs to is for."""

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is MISSING

    @property
    def spellings(self) -> tuple[str, ...]:
        """With the dashes; a switch has two."""
        if self.metavar:
            return (f"--{self.name}",)
        section, dot, last = self.name.rpartition(".")
        return f"--{self.name}", f"--{section}{dot}no-{last}"


def options_of(kind: type, default: object = None, prefix: str = "") -> Iterator[Option]:
    """The options of a dataclass, those of dataclasses in it included.

    Args:
        kind: the dataclass.
        default: an instance with the default values; None: those of the class.
        prefix: of the names.
    """
    hints, texts = get_type_hints(kind, include_extras=True), field_texts(kind)
    for item in fields(kind):
        hint, marks = _unwrapped(hints[item.name])
        name = prefix + item.name.replace("_", "-")
        value = _default_of(item) if default is None else getattr(default, item.name)
        one_value = any(isinstance(mark, tyro.constructors.PrimitiveConstructorSpec) for mark in marks)
        if is_dataclass(hint) and isinstance(hint, type) and not one_value:
            unnamed = any(getattr(mark, "name", None) == "" for mark in marks)
            yield from options_of(hint, None if value is MISSING else value, prefix if unnamed else f"{name}.")
            continue
        yield Option(
            name,
            metavar(hints[item.name]),
            _choices(hint),
            texts.get(item.name, ""),
            value,
            type(None) in get_args(hints[item.name]),
            " ".join((inspect.getdoc(kind) or "").split()),
        )


@cache
def field_texts(kind: type) -> dict[str, str]:
    """Field to the docstring below it, on one line."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    return {
        field.target.id: " ".join(below.value.value.split())
        for field, below in pairwise(definition.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
    }


def metavar(hint: Any) -> str:
    """What a value of this type looks like; empty for a switch."""
    kind, marks = _unwrapped(hint)
    for mark in marks:
        if isinstance(mark, tyro.constructors.PrimitiveConstructorSpec) and isinstance(mark.metavar, str):
            return mark.metavar
    if kind is bool:
        return ""
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        if inner[-1] is not Ellipsis:
            return " ".join(map(metavar, inner))
        return metavar(inner[0]) + ("" if tyro.conf.UseAppendAction in marks else " ...")
    if get_origin(kind) is dict:
        return " ".join(map(metavar, get_args(kind))) + " ..."
    return METAVARS.get(kind, "TEXT")


def _unwrapped(hint: Any) -> tuple[Any, Sequence[Any]]:
    """The type itself and what annotates it; of a type that may be None, the type."""
    marks: list[Any] = []
    while True:
        if hasattr(hint, "__metadata__"):
            marks, hint = [*marks, *hint.__metadata__], hint.__origin__
        elif get_origin(hint) in (Union, types.UnionType):
            (hint,) = (kind for kind in get_args(hint) if kind is not type(None))
        else:
            return hint, marks


def _choices(kind: Any) -> tuple[str, ...]:
    if get_origin(kind) is tuple:
        return _choices(get_args(kind)[0])
    return tuple(map(str, get_args(kind))) if get_origin(kind) is Literal else ()


def _default_of(item: Any) -> object:
    return item.default if item.default_factory is MISSING else item.default_factory()
