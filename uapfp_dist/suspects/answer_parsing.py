"""Labels, confidences and pairs in a suspect's JSON answers."""

from collections.abc import Iterator
from typing import Any

LABEL_KEYS = ("label", "class", "name", "class_name")


SCORE_KEYS = ("score", "probability", "confidence", "prob")
"""Keys under which services give a class and its confidence."""


class UnreadableError(ValueError):
    """An answer that is not of the form it should have."""


def _only(answer: Any) -> Any:
    """The label in `3`, `"cat"`, `["cat"]` or `{"label": "cat"}`."""
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if isinstance(answer, dict):
        keys = [key for key in LABEL_KEYS if key in answer]
        if keys or len(answer) == 1:
            return answer[keys[0]] if keys else next(iter(answer.values()))
    return answer


def _paired(answer: list[Any]) -> bool:
    return any(isinstance(item, dict) or (isinstance(item, list) and len(item) == 2) for item in answer)


def _pairs(answer: Any) -> Iterator[tuple[Any, Any]]:
    """(class, confidence) of `[["cat", .9], ...]`, `{"cat": .9, ...}`, `[{"label": "cat", "score": .9}, ...]`."""
    if isinstance(answer, dict):
        yield from answer.items()
        return
    if not isinstance(answer, list):
        raise UnreadableError(f"expected classes with confidences, got {_shown(answer)}")
    for item in answer:
        if isinstance(item, list) and len(item) == 2:
            yield item[0], item[1]
            continue
        labels = [key for key in LABEL_KEYS if isinstance(item, dict) and key in item]
        scores = [key for key in SCORE_KEYS if isinstance(item, dict) and key in item]
        if not labels or not scores:
            raise UnreadableError(f"expected pairs of a class and a confidence, got {_shown(item)}")
        yield item[labels[0]], item[scores[0]]


def _number(value: Any) -> float:
    """A JSON number; null is how some services write NaN."""
    if value is None:
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnreadableError(f"expected a number, got {_shown(value)}")
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def _shown(value: Any) -> str:
    """A foreign value in an error line: short, printable."""
    return ascii(value)[:60]
