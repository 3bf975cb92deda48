"""Where the labels, scores or pairs are in the JSON of a response: `predictions`, `outputs[0].data`, `[*].label`."""

import re
from collections.abc import Sequence

from uapfp_dist.errors import UserError
from uapfp_dist.serialization import Json
from uapfp_dist.suspects.response_parsing import quoted

STEP = re.compile(
    r"""\.?(?P<key>[^.\[\],'"$\s][^.\[\],]*)|\[(?P<index>-?\d{1,6})\]|(?P<all>\[\*\])|\[(?P<quote>['"])(?P<quoted>.*?)(?P=quote)\]"""
)
Step = str | int | None
"""A key, an index, or every item."""


class PathError(ValueError):
    """A response without what the path names."""


class AnswerPath:
    """A path into a response, or two with a comma between them: labels and their scores.

    Keys stand between dots, `[0]` is an item of a list, `[*]` every item, `["a key"]` any key; `$` is the whole.

    Args:
        text: the path.

    Raises:
        UserError: something else.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._paths = [_steps(text)]
        at = self._paths[0][1]
        if text[at : at + 1] == ",":
            self._paths.append(_steps(text, at + 1))
        if self._paths[-1][1] < len(text):
            raise UserError(
                f"answer: expected a path such as predictions, outputs[0].data or [*].label, or two with a comma "
                f"between them, got {quoted(text)}; fix it",
                argument="answer",
            )

    def find(self, reply: Json, *, batched: bool) -> Json:
        """What is there: of two paths, pairs of a label and its score.

        Args:
            reply: a JSON value.
            batched: the paths lead to one value for each image.

        Raises:
            PathError: nothing is there, in one line.
        """
        found = [_find(reply, steps, self.text) for steps, _ in self._paths]
        if len(found) == 1:
            return found[0]
        if not batched:
            return _paired(*found)
        labels, scores = found
        if not isinstance(labels, list) or not isinstance(scores, list) or len(labels) != len(scores):
            raise PathError(f"{self.text} finds no list of labels with as long a list of scores")
        return [_paired(label, score) for label, score in zip(labels, scores, strict=True)]


def _steps(text: str, start: int = 0) -> tuple[Sequence[Step], int]:
    """(steps, where they end)."""
    found: list[Step] = []
    at = start + len(text[start:]) - len(text[start:].lstrip())
    at += text.startswith("$", at)
    while match := STEP.match(text, at):
        if match["all"]:
            found.append(None)
        elif match["index"]:
            found.append(int(match["index"]))
        else:
            found.append(match["quoted"] if match["quote"] else match["key"].rstrip())
        at = match.end()
    return found, at


def _find(value: Json, steps: Sequence[Step], path: str) -> Json:
    for number, step in enumerate(steps):
        if step is None:
            if not isinstance(value, list):
                raise PathError(f"{path} finds nothing: expected a list at [*], got {_shown(value)}")
            return [_find(item, steps[number + 1 :], path) for item in value]
        try:
            if not isinstance(value, list if isinstance(step, int) else dict):
                raise KeyError(step)
            value = value[step]  # type: ignore[call-overload, index]
        except LookupError as error:
            at = f"[{step}]" if isinstance(step, int) else quoted(step)
            raise PathError(f"{path} finds nothing: no {at} in {_shown(value)}") from error
    return value


def _paired(label: Json, score: Json) -> list[Json]:
    """[[label, score], ...] of two lists, or of one label and its score."""
    if isinstance(label, list) and isinstance(score, list) and len(label) == len(score):
        return [[a, b] for a, b in zip(label, score, strict=True)]
    if isinstance(label, list) or isinstance(score, list):
        raise PathError("expected as many scores as labels")
    return [[label, score]]


def _shown(value: Json) -> str:
    if isinstance(value, dict):
        return f"an object with {', '.join(map(quoted, list(value)[:6])) or 'nothing'}"
    return f"a list of {len(value)}" if isinstance(value, list) else quoted(value)
