"""Labels, confidences and pairs in the JSON values of a suspect's responses."""

from collections.abc import Iterator
from typing import Any

LABEL_KEYS = ("label", "class", "name", "class_name")
SCORE_KEYS = ("score", "probability", "confidence", "prob")
"""Keys under which services give a class and its confidence."""


class ResponseParseError(ValueError):
    """A response that does not have the expected format."""


def parse_label(response: Any) -> Any:
    """The label in `3`, `"cat"`, `["cat"]` or `{"label": "cat"}`."""
    if isinstance(response, list) and len(response) == 1:
        response = response[0]
    if isinstance(response, dict):
        keys = [key for key in LABEL_KEYS if key in response]
        if keys or len(response) == 1:
            return response[keys[0]] if keys else next(iter(response.values()))
    return response


def has_pairs(response: list[Any]) -> bool:
    """Whether a list holds pairs of class and confidence rather than confidences."""
    return any(isinstance(item, dict) or (isinstance(item, list) and len(item) == 2) for item in response)


def parse_pairs(response: Any) -> Iterator[tuple[Any, Any]]:
    """(class, confidence) of `[["cat", .9], ...]`, `{"cat": .9, ...}`, a `{"label": "cat", "score": .9}` or several.

    Raises:
        ResponseParseError: something else.
    """
    if isinstance(response, dict):
        if not any(key in response for key in LABEL_KEYS) or not any(key in response for key in SCORE_KEYS):
            yield from response.items()
            return
        response = [response]
    if not isinstance(response, list):
        raise ResponseParseError(f"expected classes with confidences, got {quoted(response)}")
    for item in response:
        if isinstance(item, list) and len(item) == 2:
            yield item[0], item[1]
            continue
        labels = [key for key in LABEL_KEYS if isinstance(item, dict) and key in item]
        scores = [key for key in SCORE_KEYS if isinstance(item, dict) and key in item]
        if not labels or not scores:
            raise ResponseParseError(f"expected pairs of a class and a confidence, got {quoted(item)}")
        yield item[labels[0]], item[scores[0]]


def parse_number(value: Any) -> float:
    """A JSON number; NaN for null, as some services write it.

    Raises:
        ResponseParseError: something else.
    """
    if value is None:
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ResponseParseError(f"expected a number, got {quoted(value)}")
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def quoted(value: Any) -> str:
    """A foreign value for an error message: short and printable."""
    return ascii(value)[:60]
