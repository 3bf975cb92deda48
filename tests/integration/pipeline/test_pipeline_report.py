"""What comes out of a whole evaluation: its report, verdicts, summary, and what the tracker receives."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from finished_evaluation import Finished, no_training, verdicts
from system import run_here

from uapfp_dist.fingerprints.methods.registry import PROBE_METHODS
from uapfp_dist.reporting.answer import answer
from uapfp_dist.reporting.summary import summary
from uapfp_dist.serialization import to_json
from uapfp_dist.tracking.tracker import NullTracker

pytestmark = pytest.mark.usefixtures("blank_figures")


def test_the_report_has_what_others_read(finished: Finished) -> None:
    body = to_json(finished.report.body)
    keys = {"seed", "stage_seconds", "models", "victim", "uap", "auc", "false_accusation", "power"}
    keys |= {"unique_queries_per_suspect", "verdicts"}
    assert keys <= set(body)
    assert set(body["auc"]) == set(PROBE_METHODS)
    for formats in body["auc"].values():
        assert "chosen" in formats
        for groups in formats.values():
            assert set(groups) == {"homologous", "other_victim", "same_data"}
            assert all(area is None or 0.0 <= area <= 1.0 for area in groups.values())
    assert set(body["auc"]["uap"]) == {"prob", "hard", "chosen"}
    assert body["models"] == {"trained": 14, "reused": 0, "failed": 0}
    assert set(body["stage_seconds"]) >= {"zoo", "probe", "answers", "judging"}
    assert body["failures"] == []


def test_every_test_model_gets_a_verdict(finished: Finished) -> None:
    """Draw 0 tests 1 piracy, 1 homologous, 1 same data, 1 soft and one other victim's piracy, each once."""
    found = verdicts(finished.report)
    roles = sorted(v["role"] for v in found)
    assert roles == ["homologous", "other_victim_piracy", "piracy", "same_data", "soft_piracy"]
    assert len({v["model"] for v in found}) == len(found)
    for v in found:
        assert {"model", "role", "similarity", "p_value", "claim"} <= set(v)
        assert 0.0 <= v["similarity"] <= 1.0 + 1e-6
        assert 0.0 < v["p_value"] <= 1.0
        assert v["claim"] == ("piracy" if v["p_value"] <= 0.5 else "inconclusive")


def test_the_report_is_json_without_nan(finished: Finished) -> None:
    json.dumps(to_json(finished.report.body), allow_nan=False)


def test_the_summary_names_the_methods_of_the_answer(finished: Finished) -> None:
    """Eight of all, and the same answer in Markdown."""
    found = answer(finished.report.body)
    assert len(PROBE_METHODS) > len(found.methods) == 8
    assert all(row.method in summary(finished.report.body) for row in found.methods)
    assert all(row.method in found.markdown() for row in found.methods)


def test_what_the_tracker_receives(finished: Finished, tmp_path: Path) -> None:
    """One card per model that was there, one entry per suspect, tables and figures, and an end."""
    received: dict[str, list[Any]] = {"models": [], "suspects": [], "files": [], "end": []}

    class Listener(NullTracker):
        def log_model(self, accuracy: float, number: int | None = None) -> None:
            received["models"].append(number)

        def log_suspect(self, name: str, tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
            received["suspects"].append((name, tags, metrics))

        def log_files(self, folder: Path) -> None:
            received["files"] += [str(file.relative_to(folder)) for file in folder.rglob("*.*")]

    store = finished.copy(tmp_path / "s")
    run_here(finished.plan, store, no_training(store), tracker=Listener())
    assert set(received["models"]) == set(range(1, 15)), "as they come, and again with the whole"
    assert len(received["suspects"]) == 11, "all but the victim and the two other victims"
    assert {tags["part"] for _, tags, _ in received["suspects"]} == {"training", "calibration", "test"}
    assert all(metrics["accuracy"] > 0 for _, _, metrics in received["suspects"])
    assert "report.json" in received["files"]
    assert any(name.endswith(".csv") for name in received["files"])
    assert any(name.endswith(".png") for name in received["files"])
