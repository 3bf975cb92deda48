"""Content addresses: the id of a task is a hash of its value under pinned wire names.

Two runs that want the same thing find the same artifact under the same id, and that is all there is to resuming. Ids
also seed the random streams. The names that are hashed are therefore given apart from those of the code: a class or a
field may be renamed, its wire name never.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import Field, dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeVar

from uapfp_dist.serialization import Json

SCIENCE_VERSION = 2
"""Part of every id. Raise it when a change of the science must not reuse artifacts of the code before it."""
JUDGING_VERSION = 4
"""Part of the ids of what is made of responses alone. Raise it when methods change: models and responses are kept."""
REPORT_VERSION = 2
"""Part of the ids of reports. Raise it when tables or figures change: everything they are made of is kept."""

Encoder = Callable[[Any], Any]
"""A field's value to the JSON value that is hashed."""
T = TypeVar("T")
SCALARS = (str, int, float, bool, type(None))
_ENCODER = json.JSONEncoder(sort_keys=True)


@dataclass(frozen=True)
class _WireNames:
    type: str
    items: tuple[tuple[Field[Any], str, Encoder | None], ...]
    """(field, its wire name, how it is encoded); looked up once per class: plans have many specs."""


def wire_names(type_name: str, field_names: str, **encoders: Encoder) -> Callable[[type[T]], type[T]]:
    """Pin the names under which a dataclass is hashed.

    Args:
        type_name: that of the class; of a `Spec` its kind, which also names the folder of its artifacts.
        field_names: those of the fields, in their order, separated by blanks.
        encoders: (Python) field to what is hashed of its value, where that is not the value itself.

    Raises:
        TypeError: not one name for each field.
    """

    def pin(cls: type[T]) -> type[T]:
        own, names = fields(cls), field_names.split()  # type: ignore[arg-type]
        if len(own) != len(set(names)):
            raise TypeError(f"{cls.__name__}: expected a wire name for each of {[x.name for x in own]}, got {names}")
        items = tuple((item, name, encoders.get(item.name)) for item, name in zip(own, names, strict=True))
        cls._wire_names = _WireNames(type_name, items)  # type: ignore[attr-defined]
        if issubclass(cls, Spec):
            cls.kind = type_name
        return cls

    return pin


_DEFAULT = object()


def omit_default(default: Any, *, in_files: bool = True, before: Any = _DEFAULT, printed: bool = True) -> Any:
    """A field that came after artifacts were made: at its default it is no part of an id, so that those stay valid.

    Args:
        default: of the field.
        before: the value that says what code before the field did, where that is not the default: it is left out then.
        in_files: whether files and trackers show it at its default; False where those of before must stay as they are.
        printed: whether `repr` shows it; False where random seeds are made of that.
    """
    omitted = default if before is _DEFAULT else before
    return field(default=default, repr=printed, metadata={"omitted": omitted, "in_files": in_files})


def is_hashed(item: Field[Any], value: Any) -> bool:
    """Whether a field at this value is part of the id."""
    return "omitted" not in item.metadata or value != item.metadata["omitted"]


def wire_form(value: Any) -> Any:
    """A JSON value with all fields of a dataclass, nested ones too, under their wire names: for files and trackers."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            name: wire_form(x)
            for item, name, x in _wire_items(value)
            if item.metadata.get("in_files", True) or is_hashed(item, getattr(value, item.name))
        }
    if isinstance(value, tuple | list):
        return [wire_form(item) for item in value]
    return value


def content_id(value: Any) -> str:
    """20 hexadecimal digits that name `value` (80 bits: no collision at any scale this runs at)."""
    text = _ENCODER.encode([SCIENCE_VERSION, canonical(value)])
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def canonical(value: Any) -> Any:
    """A JSON value that determines `value`; specs inside specs stand as their ids.

    Raises:
        TypeError: a dataclass without wire names.
    """
    if type(value) in SCALARS:
        return value
    if isinstance(value, Spec):
        return value.id
    if is_dataclass(value) and not isinstance(value, type):
        return {"type": _wire_of(value).type, **_hashed_fields(value)}
    if isinstance(value, tuple | list):
        return [canonical(item) for item in value]
    if isinstance(value, dict):
        return {str(key): canonical(item) for key, item in value.items()}
    return value


def _hashed_fields(value: Any) -> dict[str, Json]:
    return {
        name: canonical(x)
        for item, name, x in _wire_items(value)
        if not item.metadata or is_hashed(item, getattr(value, item.name))
    }


def _wire_items(value: Any) -> Iterator[tuple[Field[Any], str, Any]]:
    """(field, its wire name, what is hashed of its value) of a dataclass."""
    for item, name, encoder in _wire_of(value).items:
        x = getattr(value, item.name)
        yield item, name, x if encoder is None else encoder(x)


def wire_item(value: Any, field: str) -> tuple[str, Any]:
    """The wire name of a field of a dataclass, and what is hashed of its value."""
    return next((name, encoded) for item, name, encoded in _wire_items(value) if item.name == field)


def has_wire_names(kind: Any) -> bool:
    """Whether a type's fields are hashed one by one, as those of specs and of sections of a configuration are."""
    return isinstance(kind, type) and isinstance(kind.__dict__.get("_wire_names"), _WireNames)


def _wire_of(value: Any) -> _WireNames:
    found = type(value).__dict__.get("_wire_names")
    if not isinstance(found, _WireNames):
        raise TypeError(f"{type(value).__name__}: expected wire names for what is hashed; see tasks.hashing.wire_names")
    return found


class Spec:
    """A task. Subclasses are frozen dataclasses with wire names and say what must be done before them."""

    kind: ClassVar[str]
    """Names the folder of its artifacts."""
    stage: ClassVar[str]
    """The stage it belongs to, as progress and reports name it."""
    version: ClassVar[int] = 1
    """Raise it when what makes the artifact changes: those of this kind, and of what needs them, are made anew."""

    @cached_property
    def id(self) -> str:
        """Content address: equal specs have equal ids, in every process."""
        versioned = {"version": self.version} if self.version > 1 else {}
        return content_id({"kind": self.kind, **_hashed_fields(self), **versioned})

    @property
    def artifact(self) -> tuple[str, str]:
        """Kind and id: the store keeps its artifact under them."""
        return self.kind, self.id

    @property
    def needs(self) -> tuple[Spec, ...]:
        """Specs whose artifacts this one reads."""
        return ()
