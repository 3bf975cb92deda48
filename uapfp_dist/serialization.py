"""Results to JSON."""

import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any


def without_nan(value: Any) -> Any:
    """JSON without NaN: what was not measured is null."""
    if is_dataclass(value) and not isinstance(value, type):
        return without_nan(asdict(value))
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
