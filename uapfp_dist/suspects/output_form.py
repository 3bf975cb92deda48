"""From a suspect's answers, in whatever form it gives them, to probabilities in the kit's order of classes."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.response_format import PROBABILITIES, ResponseFormat
from uapfp_dist.suspects.answer_parsing import UnreadableError, _number, _only, _paired, _pairs, _shown

Classes = Sequence[str] | Mapping[str, str] | None
"""The kit's class for each of the suspect's outputs in turn, or the suspect's name of a class to the kit's."""


@dataclass(frozen=True)
class ParsedAnswers:
    """Answers that were read."""

    probabilities: Tensor
    """(B, C) float32; NaN where an answer was unreadable or no number."""
    raw: Tensor
    """(B, C) float64: the same before any softmax, for a look at what came."""
    problems: dict[int, str]
    """Row to what was wrong with it."""


@dataclass(frozen=True)
class OutputForm:
    """What an answer is.

    Args:
        output: `probabilities`, `logits`, `top<k>` (pairs of class and confidence, in any order) or `label`.
        class_names: the kit's, in its order.
        classes: the suspect's classes where they are not the kit's.

    Raises:
        UserError: an unknown form, or classes that are not the kit's.
    """

    output: str
    class_names: tuple[str, ...]
    classes: Classes = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"probabilities|logits|label|top[1-9][0-9]{0,8}", self.output):
            raise UserError(
                f"unknown output {self.output!r:.60}; known: probabilities, logits, label, top<k> such as top3"
            )
        given = list(self.classes.values() if isinstance(self.classes, Mapping) else self.classes or ())
        if self.classes is not None and sorted(given) != sorted(self.class_names):
            raise UserError(
                f"classes: expected each of the kit's {len(self.class_names)} classes once "
                f"({', '.join(self.class_names[:12])}), got {len(given)} ({', '.join(given[:12])}); mend the file"
            )

    @property
    def format(self) -> ResponseFormat:
        """What it gives away: logits are probabilities before the softmax."""
        return PROBABILITIES if self.output == "logits" else ResponseFormat.parse(self.output)

    def read(self, answers: Sequence[Any]) -> ParsedAnswers:
        """Read B answers; one that cannot be read is named, and never guessed."""
        raw = np.full((len(answers), len(self.class_names)), np.nan)
        problems: dict[int, str] = {}
        for i, answer in enumerate(answers):
            try:
                raw[i] = self._row(answer)
            except (UnreadableError, RecursionError) as error:
                problems[i] = str(error)
                continue
            if not np.isfinite(raw[i]).all():
                problems[i] = "a confidence is not a finite number"
        values = torch.from_numpy(raw)
        probabilities = values.softmax(1) if self.output == "logits" else values
        return ParsedAnswers(
            torch.where(values.isfinite().all(1, keepdim=True), probabilities, torch.nan).float(), values, problems
        )

    def unreadable(self, answers: Sequence[Any]) -> str:
        """Why the first answer cannot be read if none can; empty otherwise. NaN is an answer of the right form."""
        reasons = []
        for answer in answers:
            try:
                self._row(answer)
            except (UnreadableError, RecursionError) as error:
                reasons.append(str(error))
            else:
                return ""
        return next(iter(reasons), "")

    def _row(self, answer: Any) -> np.ndarray:
        row = np.zeros(len(self.class_names))
        if self.output == "label":
            row[self._class(_only(answer))] = 1.0
            return row
        if self.output in ("probabilities", "logits") and isinstance(answer, list):
            if len(answer) == 1 and isinstance(answer[0], list):
                answer = answer[0]
            if not _paired(answer):
                return self._vector(answer)
        found: dict[int, float] = {}
        for label, value in _pairs(answer):
            place = self._class(label)
            if place in found:
                raise UnreadableError(f"class {self.class_names[place]!r} is named twice")
            found[place] = _number(value)
        if not self.output.startswith("top"):
            if len(found) != len(row):
                raise UnreadableError(f"expected {len(row)} classes, got {len(found)}")
        else:
            k = min(int(self.output[3:]), len(row))
            if len(found) < k:
                raise UnreadableError(f"expected {k} classes with confidences, got {len(found) or 'none'}")
            if not any(found.values()):  # the first class is not meant because all are alike
                raise UnreadableError("expected a confidence above 0, got none")
            found = dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:k])
        for place, value in found.items():
            row[place] = value
        return row

    def _vector(self, answer: list[Any]) -> np.ndarray:
        if len(answer) != len(self.class_names):
            raise UnreadableError(f"expected {len(self.class_names)} classes, got {len(answer)}")
        values = np.array([_number(value) for value in answer])
        if self.classes is None or isinstance(self.classes, Mapping):
            return values
        row = np.empty_like(values)
        row[[self.class_names.index(name) for name in self.classes]] = values
        return row

    def _class(self, label: Any) -> int:
        """The place of a class that is named, or numbered in the suspect's order."""
        if isinstance(label, float) and label.is_integer():
            label = int(label)
        if isinstance(self.classes, Mapping):
            # All of the suspect's names stand there: another one, or a number of its own, is no class of the kit.
            if str(label) in self.classes:
                return self.class_names.index(self.classes[str(label)])
            raise UnreadableError(f"expected one of the names given by --classes, got {_shown(label)}")
        number = isinstance(label, str) and label.isascii() and label.isdigit() and len(label) < 9
        # Who gives a list numbers classes by it, in a text too (a record's key); else a name may look like a number.
        if isinstance(label, str) and label in self.class_names and not (number and self.classes):
            return self.class_names.index(label)
        if number:
            label = int(label)
        if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(self.class_names):
            return self.class_names.index((self.classes or self.class_names)[label])
        raise UnreadableError(f"expected one of the kit's classes, got {_shown(label)}")


def load_classes(path: Path | None) -> Classes:
    """The suspect's classes from a JSON file: a list or an object of strings; None without a file.

    Raises:
        UserError: no such file, or something else in it.
    """
    if path is None:
        return None
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"classes: expected a JSON file at {path} ({error}); write one") from error
    if isinstance(found, list) and all(isinstance(item, str | int) for item in found):
        return [str(item) for item in found]
    if isinstance(found, dict) and all(isinstance(item, str | int) for item in found.values()):
        return {key: str(item) for key, item in found.items()}
    raise UserError(
        f"classes: expected in {path} a list of the kit's classes in the suspect's order, or an object from the "
        "suspect's names to the kit's; mend the file"
    )
