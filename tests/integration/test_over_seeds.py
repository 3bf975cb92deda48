"""Subcommands that sum up whole evaluations and enrolments, at the smallest size: seeds, kit-power, kit-robustness."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from commands import run
from small_enrollment import small_config
from system import tiny

from uapfp_dist.cli import kit_power
from uapfp_dist.config import presets
from uapfp_dist.launch import kit_robustness

SMALL_KIT = (
    "--alpha", "0.5", "--attacks", "cloudleak", "knockoff", "--n-train", "2", "--n-train-piracy", "1", "--n-test", "1",
    "--n-test-piracy", "1", "--n-committee", "2", "--n-sets", "1", "--n-points", "20", "--calibration-factor", "1",
)  # fmt: skip
"""Options of a kit like `small_enrollment.SMALL`."""


@pytest.fixture
def here(tmp_path: Path) -> tuple[str, ...]:
    """Options of where it runs: in this process, everything in one folder."""
    return ("--storage", str(tmp_path / "s"), "--workers", "0", "--out", str(tmp_path / "out"))


@pytest.mark.slow
def test_seeds_are_evaluated_once_and_summed_up(
    here: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(presets.PRESETS, "tiny", tiny())
    run("seeds", "--preset", "tiny", "--seeds", "0", "1", *here)
    table = (tmp_path / "out" / "tiny.md").read_text()
    assert table.startswith("`tiny`, seeds 0, 1: 28 models (0 failed)")
    assert capsys.readouterr().out.count("14 models trained") == 2
    assert (tmp_path / "out" / "tiny.png").stat().st_size > 10_000
    run("seeds", "--preset", "tiny", "--seeds", "0", "1", *here)
    assert capsys.readouterr().out == f"{table}\n", "nothing is run again"


@pytest.mark.slow
def test_kits_are_enrolled_modified_and_counted(
    here: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The robustness of the very kit whose rates are counted: its models are in the storage."""
    monkeypatch.setattr(kit_robustness, "enroll_preset", lambda name: small_config())
    monkeypatch.setattr(kit_power, "COMMAND", replace(kit_power.COMMAND, preset=lambda name: small_config()))
    beside = ("--exact", "beside", "--exact-siblings", "2", "--n-exact-stolen", "2", "--n-exact-points", "8")
    run("kit-power", "--seeds", "0", *SMALL_KIT, *beside, *here)
    shown = capsys.readouterr().out
    assert "| all | prob |" in shown
    assert "the exact sibling test by labels with 2 siblings at alpha 0.5" in shown
    exact = json.loads((tmp_path / "out" / "digits-exact.json").read_text())
    assert {(one["stolen_each"], one["n_points"]) for one in exact} >= {(0, 25), (2, 25)}
    assert set(json.loads((tmp_path / "out" / "digits.json").read_text())[0]) == {"prob", "top3", "hard"}
    (tmp_path / "out" / "digits-0").rename(tmp_path / "out" / "kit-digits-0")
    few = ("--n-stolen", "1", "--n-negatives", "1", "--n-adversarial", "0")
    none = ("--controls.n-other-architecture", "0", "--controls.n-second-hand", "0", "--controls.n-mixed", "0")
    removal = ("--removal.n-piracy", "1", "--removal.n-homologous", "1", "--removal.n-guessing", "2")
    run("kit-robustness", *few, *none, *removal, *SMALL_KIT, *beside, *here)
    written = json.loads((tmp_path / "out" / "suspects.json").read_text())
    assert (written["title"], written["corrected_alpha"]) == ("`digits`, seed 0, float32", 0.5)
    judged = written["judged"]
    modified = {"piracy", "modified_piracy", "homologous", "modified_homologous", "modified_victim"}
    assert modified | {"relabelled_piracy", "relabelled_homologous"} == {one["role"] for one in judged}
    attacks = {"guessed churn", "distillation on fresh images", "PGD training .02", "label smoothing .1"}
    assert attacks <= {one["kind"] for one in judged}
    assert all(len(one["exact"]) == 1 for one in judged)
    assert {"queries mirrored", "0.05 of the answers random"} <= {one["kind"] for one in judged}
    assert (tmp_path / "out" / "removal.png").stat().st_size > 0
    text = (tmp_path / "out" / "suspects.md").read_text()
    assert text.startswith("`digits`, seed 0, float32: suspects accused at alpha 0.5 by ")
    assert capsys.readouterr().out.rstrip() == text.rstrip()
