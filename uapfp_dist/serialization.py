"""Dataclasses to JSON and back, and the JSON schema of them, by pydantic.

A number that was not measured is NaN in Python and null in JSON; a field that is None is left out of the JSON.
"""

import math
from collections.abc import Hashable
from functools import cache
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import BeforeValidator, JsonValue, TypeAdapter, ValidationError, WithJsonSchema

T = TypeVar("T")
Json: TypeAlias = JsonValue
"""Any JSON value."""
Number = Annotated[
    float,
    BeforeValidator(lambda value: math.nan if value is None else value),
    WithJsonSchema({"type": ["number", "null"]}),
]
"""A measured number; NaN, in JSON null, where nothing was measured."""


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(kind)  # type: ignore[arg-type]


def to_json(value: object) -> Any:
    """The JSON value of a dataclass, nested ones in it too, fields under their aliases."""
    kind: Any = type(value)
    return without_nan(_adapter(kind).dump_python(value, mode="json", by_alias=True, exclude_none=True))


def from_json(kind: type[T], value: object) -> T:
    """The inverse of `to_json`; keys that `kind` does not know are passed over.

    Raises:
        ValueError: it does not fit, in one line.
    """
    hashable: Any = kind
    try:
        return _adapter(hashable).validate_python(value)  # type: ignore[no-any-return]
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"]))
        raise ValueError(f"{at or kind.__name__}: {first['msg']}") from error


def json_schema(kind: type) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of what `to_json` gives for `kind`."""
    hashable: Any = kind
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **without_nan(_adapter(hashable).json_schema(mode="validation")),
    }


def without_nan(value: Any) -> Any:
    """The same JSON value with null for NaN and infinities, and lists for tuples."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
