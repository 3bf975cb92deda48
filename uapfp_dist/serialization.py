"""Results to JSON."""

import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any


def clean(value: Any) -> Any:
    """JSON without NaN: what was not measured is null."""
    if is_dataclass(value) and not isinstance(value, type):
        return clean(asdict(value))
    if isinstance(value, Mapping):
        return {key: clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
