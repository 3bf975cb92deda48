"""What the run of an evaluation shows: few metrics, no number lost, the answer."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from uapfp_dist.evaluation.judging import CHOSEN
from uapfp_dist.progress import Progress
from uapfp_dist.reporting.answer import answer
from uapfp_dist.reporting.mlflow_fields import (
    HEADLINES,
    all_numbers,
    answer_tag,
    flatten,
    mlflow_description,
    mlflow_metrics,
    progress_metrics,
    progress_note,
)
from uapfp_dist.reporting.report_schema import EvaluationReport, ModelCounts, read_report
from uapfp_dist.tracking.mlflow_page import run_note

RESULTS = sorted((Path(__file__).resolve().parents[2] / "jobs" / "results").glob("*-[0-9].json"))
MOST = 30
"""Metrics of a run, the curves of its work among them."""
CURVES = ("zoo/accuracy", "progress/done", "progress/in_work")


def evaluations() -> dict[str, EvaluationReport]:
    """The stored reports of evaluations."""
    found = {path.stem: json.loads(path.read_text()) for path in RESULTS}
    return {name: read_report(value) for name, value in found.items() if "verdicts" in value}


REPORTS = evaluations()


def numbers_of(report: EvaluationReport) -> dict[str, float]:
    """With costs on both kinds of device."""
    return all_numbers(report, [], {}, 1.0) | {"cpu_seconds/zoo": 2.0, "gpu_seconds/zoo": 4.0}


@pytest.mark.parametrize("name", REPORTS)
def test_few_metrics_of_its_own(name: str) -> None:
    report = replace(REPORTS[name], models=ModelCounts(trained=1, reused=2, failed=0), workers_busy=0.9)
    numbers = numbers_of(report)
    metrics = mlflow_metrics(report, numbers)
    assert len(metrics) + len(CURVES) <= MOST < len(numbers)
    assert not any(name.startswith("system/") for name in metrics)
    assert metrics["auc/homologous"] == report.auc[report.decided_by][CHOSEN]["homologous"]
    assert metrics["victim/accuracy"] == report.victim.accuracy
    assert (metrics["cpu_seconds"], metrics["gpu_seconds"]) == (3.0, 4.0)
    assert set(HEADLINES) & metrics.keys() == set(HEADLINES) & numbers.keys()


def test_the_bound_holds_whatever_is_measured() -> None:
    """A report that has every group."""
    report = next(report for report in REPORTS.values() if "sibling" in report.auc["uap"][CHOSEN])
    numbers = numbers_of(report) | dict.fromkeys(HEADLINES, 1.0)
    assert len(mlflow_metrics(report, numbers)) + len(CURVES) <= MOST


@pytest.mark.parametrize("name", REPORTS)
def test_no_number_is_lost(name: str) -> None:
    """What is no metric is in the list of all numbers, and that of results in the report as well."""
    report = REPORTS[name]
    numbers, body = all_numbers(report, [], {}, 1.0), json.loads(RESULTS[0].with_stem(name).read_text())
    written = flatten(body)
    assert {
        key: value for key, value in numbers.items() if not key.startswith(("queries/", "cpu_seconds/"))
    }.items() <= (written.items())
    assert numbers["queries/per_suspect"] == report.queries_per_suspect
    again = [key for key in mlflow_metrics(report, numbers) if key in numbers]
    assert {key: mlflow_metrics(report, numbers)[key] for key in again} == {key: numbers[key] for key in again}


@pytest.mark.parametrize("name", REPORTS)
def test_the_description_is_the_answer(name: str) -> None:
    """All of it fits into MLflow's tag, with one picture that is on the same server."""
    report = REPORTS[name]
    found, text = answer(report), mlflow_description(report)
    assert text.startswith(found.markdown())
    note = run_note(text, "123456789", "f" * 32)
    assert note.startswith(found.markdown())
    assert note.count("![") == 1
    assert "(get-artifact?path=figures/answer.png&run_uuid=ffff" in note
    assert "artifact:" not in note
    assert answer_tag(report)
    assert answer_tag(report) in found.sentences[0]
    assert "?" not in answer_tag(report)


def test_the_progress_of_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    """A row per stage and two curves; every note is kept for the file."""
    progress = Progress(workers=4)
    progress.step("zoo", 3, 4)
    progress.step("judge", 0, 4)
    progress.note()
    numbers = progress.numbers()
    assert progress_metrics(numbers) == {"progress/done": 3 / 4, "progress/in_work": 0.0}
    note = progress_note(numbers, 125)
    assert "2 min 5 s" in note
    assert "zoo | 3 | 0 | 0 | 4" in note
    assert "judge | 0 | 0 | 0 | 4" in note
    assert ": 0 tasks in work on 4 workers; 5 wait." in note
    (kept,) = progress.summary().notes
    assert {key: kept[key] for key in numbers} == numbers
    assert kept["seconds"] == 0.0


def test_no_work_is_no_division() -> None:
    assert progress_metrics({}) == {"progress/done": 0.0, "progress/in_work": 0.0}
    assert "In progress" in progress_note({}, 0)
