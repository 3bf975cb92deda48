"""Responses of suspects: probabilities of the kit's classes in every format, or a problem; never a guess."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.output_format import OutputFormat, load_classes

NAMES = tuple("abcde")


def output_format(output: str, classes: Any = None) -> OutputFormat:
    return OutputFormat(output, NAMES, classes)


P = [0.1, 0.4, 0.2, 0.05, 0.25]


BY_NAME = {"c": 0.2, "a": 0.1, "e": 0.25, "b": 0.4, "d": 0.05}


@pytest.mark.parametrize(
    ("output", "classes", "response", "row"),
    [
        ("probabilities", None, P, P),
        ("probabilities", None, [P], P),
        ("probabilities", None, BY_NAME, P),
        ("probabilities", list("edcba"), P, P[::-1]),
        (
            "probabilities",
            {"A": "a", "B": "b", "C": "c", "D": "d", "E": "e"},
            {k.upper(): v for k, v in BY_NAME.items()},
            P,
        ),
        ("top2", None, [["e", 0.25], ["b", 0.4]], [0, 0.4, 0, 0, 0.25]),
        ("top2", None, {"b": 0.4, "e": 0.25}, [0, 0.4, 0, 0, 0.25]),
        ("top2", None, [[4, 0.25], [1, 0.4]], [0, 0.4, 0, 0, 0.25]),
        ("top2", None, [{"score": 0.25, "label": "e"}, {"score": 0.4, "label": "b"}], [0, 0.4, 0, 0, 0.25]),
        ("top2", None, BY_NAME, [0, 0.4, 0, 0, 0.25]),
        ("top1", list("edcba"), [[0, 0.9]], [0, 0, 0, 0, 0.9]),
        ("label", None, 3, [0, 0, 0, 1, 0]),
        ("label", None, 3.0, [0, 0, 0, 1, 0]),
        ("label", None, "3", [0, 0, 0, 1, 0]),
        ("label", None, "d", [0, 0, 0, 1, 0]),
        ("label", None, ["d"], [0, 0, 0, 1, 0]),
        ("label", None, {"label": "d", "score": 1.0}, [0, 0, 0, 1, 0]),
        ("label", None, {"0": 3}, [0, 0, 0, 1, 0]),
        ("label", list("bcdea"), 3, [0, 0, 0, 0, 1]),
        ("label", {"dog": "d", "1": "a", "x": "b", "y": "c", "z": "e"}, "dog", [0, 0, 0, 1, 0]),
        ("label", {"dog": "d", "1": "a", "x": "b", "y": "c", "z": "e"}, 1, [1, 0, 0, 0, 0]),
        ("top9", None, BY_NAME, P),
    ],
)
def test_responses_in_every_format(output: str, classes: Any, response: Any, row: list[float]) -> None:
    parsed = output_format(output, classes).parse([response])
    assert not parsed.problems
    assert torch.equal(parsed.probabilities[0], torch.tensor(row, dtype=torch.float32))


def test_logits_become_probabilities() -> None:
    logits = [3.0, -1.0, 0.0, 700.0, 699.0]
    row = output_format("logits").parse([logits]).probabilities[0]
    assert torch.allclose(row.double(), torch.tensor(logits).double().softmax(0), atol=1e-7)


@pytest.mark.parametrize(
    ("output", "response", "problem"),
    [
        ("probabilities", [0.5, 0.5], "expected 5 classes, got 2"),
        ("probabilities", [*P, 0.0], "expected 5 classes, got 6"),
        ("probabilities", {"a": 1.0}, "expected 5 classes, got 1"),
        ("probabilities", [*P[:4], float("nan")], "not a finite number"),
        ("probabilities", [*P[:4], None], "not a finite number"),
        ("probabilities", [*P[:4], "0.25"], "expected a number"),
        ("probabilities", [*P[:4], True], "expected a number"),
        ("probabilities", [*P[:4], 10**400], "not a finite number"),
        ("probabilities", "a", "expected classes"),
        ("logits", [0.0, 0.0, 0.0, 0.0, float("inf")], "not a finite number"),
        ("top2", [["a", 0.5], ["a", 0.2]], "named twice"),
        ("top2", [["z", 0.5], ["a", 0.2]], "one of the kit's classes"),
        ("top2", [0.5, 0.2], "expected pairs"),
        ("top2", [["a", 0.5]], "expected 2 classes with confidences, got 1"),
        ("top2", [["d", 0.0], ["e", 0.0]], "confidence above 0"),
        ("top9", [["a", 0.5], ["b", 0.2]], "expected 5 classes with confidences, got 2"),
        ("top1", [["d", 0.0]], "confidence above 0"),
        ("top1", [["d", -0.0]], "confidence above 0"),
        ("top2", [], "got none"),
        ("top2", {}, "got none"),
        ("label", 5, "one of the kit's classes"),
        ("label", -1, "one of the kit's classes"),
        ("label", 1.5, "one of the kit's classes"),
        ("label", True, "one of the kit's classes"),
        ("label", None, "one of the kit's classes"),
        ("label", "\x1b[31mz", r"got '\\x1b"),
        ("label", json.loads("[" * 500 + "]" * 500), "one of the kit's classes"),
    ],
)
def test_another_response_is_a_problem_and_never_guessed(output: str, response: Any, problem: str) -> None:
    good = {"label": "a", "top1": [["a", 0.5]], "top2": [["a", 0.5], ["b", 0.2]], "top9": BY_NAME}.get(output, P)
    parsed = output_format(output).parse([good, response])
    assert list(parsed.problems) == [1]
    assert re.search(problem, parsed.problems[1])
    assert bool(parsed.probabilities[1].isnan().all())
    assert bool(parsed.probabilities[0].isfinite().all())


@pytest.mark.parametrize("label", [2, "2", 2.0, "c", 0, None])
def test_an_object_of_classes_is_complete(label: Any) -> None:
    """A class that the file leaves out is unknown, also if its number or name is one of the kit's."""
    names = {"1": "a", "cat": "b", "b": "c", "dog": "d", "3": "e"}
    assert output_format("label", names).parse(["b"]).probabilities[0].argmax() == 2
    assert output_format("label", names).parse([3]).probabilities[0].argmax() == 4
    problem = output_format("label", names).parse([label]).problems[0]
    assert "names in the file of classes" in problem
    assert "names in the file of classes" in output_format("top1", names).parse([[[label, 0.9]]]).problems[0]


@pytest.mark.parametrize("output", ["top0", "prob", "", "top", "labels", "top" + "9" * 5000, "top\u0663"])
def test_unknown_outputs_are_refused(output: str) -> None:
    with pytest.raises(UserError, match="known: probabilities"):
        output_format(output)


@pytest.mark.parametrize("classes", [list("abcd"), list("abcdd"), {"x": "a"}, []])
def test_classes_must_be_the_kits(classes: Any) -> None:
    with pytest.raises(UserError, match="each of the kit's 5 classes once"):
        output_format("label", classes)


@pytest.mark.parametrize("text", ["{", "3", "[[1]]", '{"a": [1]}'])
def test_another_file_than_one_of_classes_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(UserError, match="classes"):
        load_classes(tmp_path / "c.json")
