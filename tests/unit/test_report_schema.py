"""The file of a report: what the classes write they read back, and the published schema describes it."""

import json
import math
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from uapfp_dist.errors import UserError
from uapfp_dist.reporting.report_schema import EvaluationReport, SpecFailure, read_report
from uapfp_dist.reporting.section_schema import SectionNumbers, ZooNumbers, joined
from uapfp_dist.serialization import from_json, json_schema, to_json

FILE = files("uapfp_dist.reporting") / "report.schema.json"
RESULTS = Path(__file__).resolve().parents[2] / "jobs" / "results"
REPORTS = sorted(path for path in RESULTS.glob("*.json") if "auc_detail" in json.loads(path.read_text()))


def lost(before: Any, after: Any, path: str = "") -> list[str]:
    """Where `after` lacks what `before` has, or has another value or type."""
    if isinstance(before, dict) and isinstance(after, dict):
        missing = [f"{path}.{key}" for key in before.keys() - after.keys()]
        return missing + [
            p for key in before.keys() & after.keys() for p in lost(before[key], after[key], f"{path}.{key}")
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [p for i, pair in enumerate(zip(before, after, strict=True)) for p in lost(*pair, f"{path}[{i}]")]
    return [] if (type(before), before) == (type(after), after) else [path]


def test_the_published_schema_is_that_of_the_classes() -> None:
    """Where this fails, write the value of `text` to the file."""
    text = json.dumps(json_schema(EvaluationReport), indent=1, allow_nan=False) + "\n"
    assert FILE.read_text(encoding="utf-8") == text
    jsonschema.Draft202012Validator.check_schema(json.loads(text))


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_reports_of_earlier_code_are_read(path: Path) -> None:
    """Nothing that they hold gets lost, to the last digit; what they lack may be added."""
    body = json.loads(path.read_text())
    jsonschema.validate(body, json.loads(FILE.read_text(encoding="utf-8")))
    again = to_json(from_json(EvaluationReport, body))
    assert lost(body, again) == []
    jsonschema.validate(again, json_schema(EvaluationReport))


def test_a_report_by_newer_code_is_refused_in_one_line() -> None:
    body = json.loads(REPORTS[0].read_text())
    assert read_report(body).seed == body["seed"]
    with pytest.raises(UserError, match="expected schema version 1, got 2") as caught:
        read_report(body | {"version": 2, "seed": "anything"})
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="report: expected one of an evaluation"):
        read_report([])


def test_there_are_reports() -> None:
    assert len(REPORTS) >= 10


def test_a_report_with_a_field_of_another_type_is_refused() -> None:
    body = json.loads(REPORTS[0].read_text())
    for broken in (body | {"seed": "first"}, {key: value for key, value in body.items() if key != "power"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, json_schema(EvaluationReport))
        with pytest.raises(ValueError, match=r"^(seed|power): "):
            from_json(EvaluationReport, broken)


def test_files_keep_their_names() -> None:
    """Fields with better names are written under those that files always had."""
    failure = SpecFailure(id="a", kind="model", description="a net", error="e", details="", skipped=True)
    plain = to_json(failure)
    assert plain == {"id": "a", "kind": "model", "words": "a net", "error": "e", "details": "", "lost": True}
    assert from_json(SpecFailure, plain) == failure


def test_sections_are_joined() -> None:
    """An empty field counts, a field that is None does not; NaN is null."""
    zoo = SectionNumbers(zoo=ZooNumbers(mean_recovery=math.nan))
    found = joined([zoo, SectionNumbers(destroyed=()), SectionNumbers()])
    null = {"mean_recovery": None, "mean_recovery_low": None, "mean_recovery_high": None}
    assert to_json(found) == {"zoo": null, "destroyed": []}
