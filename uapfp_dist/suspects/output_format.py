"""Responses of a suspect, in the format it gives them, to probabilities in the kit's order of classes."""

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
from uapfp_dist.suspects.response_parsing import (
    ResponseParseError,
    has_pairs,
    parse_label,
    parse_number,
    parse_pairs,
    quoted,
)

Classes = Sequence[str] | Mapping[str, str] | None
"""The kit's class of each of the suspect's outputs in order, or the suspect's name of a class to the kit's."""


@dataclass(frozen=True)
class ParsedResponses:
    """B responses as tensors."""

    probabilities: Tensor
    """(B, C) float32; a row of NaN for a response that could not be parsed or held NaN."""
    raw: Tensor
    """(B, C) float64: the same before any softmax."""
    problems: dict[int, str]
    """Row to what is wrong with it."""


@dataclass(frozen=True)
class OutputFormat:
    """How a suspect responds.

    Args:
        output: `probabilities`, `logits`, `top<k>` (pairs of class and confidence, in any order) or `label`.
        class_names: the kit's, in its order.
        classes: the suspect's, if they are not the kit's.

    Raises:
        UserError: an unknown output, or classes that are not the kit's.
    """

    output: str
    class_names: tuple[str, ...]
    classes: Classes = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"probabilities|logits|label|top[1-9][0-9]{0,8}", self.output):
            raise UserError(
                f"unknown output {self.output!r:.60}; known: probabilities, logits, label, top<k> such as top3",
                argument="output",
            )
        given = list(self.classes.values() if isinstance(self.classes, Mapping) else self.classes or ())
        if self.classes is not None and sorted(given) != sorted(self.class_names):
            raise UserError(
                f"classes: expected each of the kit's {len(self.class_names)} classes once "
                f"({', '.join(self.class_names[:12])}), got {len(given)} ({', '.join(given[:12])}); fix the file",
                argument="classes",
            )

    @property
    def format(self) -> ResponseFormat:
        """What a response gives away; logits are probabilities before the softmax."""
        return PROBABILITIES if self.output == "logits" else ResponseFormat.parse(self.output, argument="output")

    def parse(self, responses: Sequence[Any]) -> ParsedResponses:
        """Parse B responses; one that does not have this format is a problem, and never guessed."""
        raw = np.full((len(responses), len(self.class_names)), np.nan)
        problems: dict[int, str] = {}
        for i, response in enumerate(responses):
            try:
                raw[i] = self._row(response)
            except (ResponseParseError, RecursionError) as error:
                problems[i] = str(error)
                continue
            if not np.isfinite(raw[i]).all():
                problems[i] = "a confidence is not a finite number"
        values = torch.from_numpy(raw)
        probabilities = values.softmax(1) if self.output == "logits" else values
        return ParsedResponses(
            torch.where(values.isfinite().all(1, keepdim=True), probabilities, torch.nan).float(), values, problems
        )

    def parse_error(self, responses: Sequence[Any]) -> str:
        """The first response's problem if none of them has this format, else empty. NaN has the right format."""
        problems = []
        for response in responses:
            try:
                self._row(response)
            except (ResponseParseError, RecursionError) as error:
                problems.append(str(error))
            else:
                return ""
        return next(iter(problems), "")

    def _row(self, response: Any) -> np.ndarray:
        row = np.zeros(len(self.class_names))
        if self.output == "label":
            row[self._class(parse_label(response))] = 1.0
            return row
        if self.output in ("probabilities", "logits") and isinstance(response, list):
            if len(response) == 1 and isinstance(response[0], list):
                response = response[0]
            if not has_pairs(response):
                return self._vector(response)
        found: dict[int, float] = {}
        for label, value in parse_pairs(response):
            index = self._class(label)
            if index in found:
                raise ResponseParseError(f"class {self.class_names[index]!r} is named twice")
            found[index] = parse_number(value)
        if not self.output.startswith("top"):
            if len(found) != len(row):
                raise ResponseParseError(f"expected {len(row)} classes, got {len(found)}")
        else:
            k = min(int(self.output[3:]), len(row))
            if len(found) < k:
                raise ResponseParseError(f"expected {k} classes with confidences, got {len(found) or 'none'}")
            if not any(found.values()):  # equal confidences of 0 name no class
                raise ResponseParseError("expected a confidence above 0, got none")
            found = dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:k])
        for index, value in found.items():
            row[index] = value
        return row

    def _vector(self, response: list[Any]) -> np.ndarray:
        if len(response) != len(self.class_names):
            raise ResponseParseError(f"expected {len(self.class_names)} classes, got {len(response)}")
        values = np.array([parse_number(value) for value in response])
        if self.classes is None or isinstance(self.classes, Mapping):
            return values
        row = np.empty_like(values)
        row[[self.class_names.index(name) for name in self.classes]] = values
        return row

    def _class(self, label: Any) -> int:
        """The kit's index of a class that is named, or numbered in the suspect's order."""
        if isinstance(label, float) and label.is_integer():
            label = int(label)
        if isinstance(self.classes, Mapping):
            # It holds all of the suspect's names: another name or number is no class of the kit.
            if str(label) in self.classes:
                return self.class_names.index(self.classes[str(label)])
            raise ResponseParseError(f"expected one of the names in the file of classes, got {quoted(label)}")
        number = isinstance(label, str) and label.isascii() and label.isdigit() and len(label) < 9
        # With a list of classes a digit string (such as a JSON key) is an index into it; without, it may be a name.
        if isinstance(label, str) and label in self.class_names and not (number and self.classes):
            return self.class_names.index(label)
        if number:
            label = int(label)
        if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(self.class_names):
            return self.class_names.index((self.classes or self.class_names)[label])
        raise ResponseParseError(f"expected one of the kit's classes, got {quoted(label)}")


def load_classes(path: Path | None) -> Classes:
    """The suspect's classes from a JSON file: a list or an object of strings; None without a file.

    Raises:
        UserError: no such file, or another content.
    """
    if path is None:
        return None
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"classes: expected a JSON file at {path} ({error}); write one", argument="classes") from error
    if isinstance(found, list) and all(isinstance(item, str | int) for item in found):
        return [str(item) for item in found]
    if isinstance(found, dict) and all(isinstance(item, str | int) for item in found.values()):
        return {key: str(item) for key, item in found.items()}
    raise UserError(
        f"classes: expected in {path} a list of the kit's classes in the suspect's order, or an object from the "
        "suspect's names to the kit's; fix the file",
        argument="classes",
    )
