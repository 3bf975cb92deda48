"""The run of a verification in MLflow: found by its name, described by its verdict."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from toy_kit import negative, serve, toy_kit, trained

from uapfp_dist.launch.verification import record_verdict
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.tracking.tracker import DESCRIPTION, NAME
from uapfp_dist.verification.replay import JudgedSuspect
from uapfp_dist.verification.reports.verdict_folder import write_verdict
from uapfp_dist.verification.reports.verdict_metrics import verification_tags
from uapfp_dist.verification.verify import verify


def copied(images: np.ndarray) -> list[list[float]]:
    """The victim's own answers."""
    return serve(trained(0))(images)


def independent(images: np.ndarray) -> list[list[float]]:
    """Those of a model that is not stolen."""
    return serve(negative())(images)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[JudgedSuspect]]:
    """Folder and verdicts of two suspects."""
    out = tmp_path_factory.mktemp("judged")
    suspects = [SuspectConfig(at=f"{__name__}:{name}", name=name) for name in ("copied", "independent")]
    cases = verify(toy_kit("uap"), suspects, out, alpha=0.2)
    write_verdict(out, toy_kit("uap"), cases)
    return out, cases


def test_a_recorded_verdict_is_one_run_with_its_suspects(
    judged: tuple[Path, list[JudgedSuspect]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded twice; the kit's digest joins it to the run of the enrolment."""
    out, cases = judged
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for _ in range(2):
        record_verdict(None, out, toy_kit("uap"), cases)
    client = MlflowClient(f"sqlite:///{out}/mlflow.db")
    experiment = client.get_experiment_by_name("uapfp_dist")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.job = 'verify'")
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert parent.info.run_name == "verify copied, independent"
    assert parent.data.tags["kit"] == toy_kit("uap").digest
    assert "copied: piracy (p 0.1" in parent.data.tags["answer"]
    assert "copied: piracy. p 0.0" in parent.data.tags["mlflow.note.content"]
    nested = {run.info.run_name: run.data.tags["claim"] for run in runs if run is not parent}
    assert nested == {"copied": "piracy", "independent": "inconclusive"}


def test_no_name_of_a_suspect_is_markup(judged: tuple[Path, list[JudgedSuspect]]) -> None:
    """It stays within the quotation, and the run's name is short."""
    cases = [replace(case, verdict=replace(case.verdict, name="x\n\n<img src=a>" + "y" * 99)) for case in judged[1]] * 3
    tags = verification_tags(toy_kit("uap"), cases)
    assert tags[NAME].endswith(" and 3 more")
    assert len(tags[NAME]) < 200
    assert "\n" not in tags[NAME] + tags["answer"]
    quoted = [line for line in tags[DESCRIPTION].splitlines() if "<img" in line]
    assert len(quoted) == len(cases)
    assert all(line.startswith("    ") for line in quoted)
