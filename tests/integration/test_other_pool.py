"""A whole evaluation whose knockoff sends images of a folder, as a command runs it."""

from dataclasses import replace
from pathlib import Path

import pytest
from image_sets import write_folder
from system import tiny

from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.config.schema import Config
from uapfp_dist.errors import UserError
from uapfp_dist.launch.ablation import run_grid
from uapfp_dist.launch.evaluation import run
from uapfp_dist.launch.seeds import run_seeds
from uapfp_dist.storage.store import Store
from uapfp_dist.tracking.tracker import NullTracker

pytestmark = pytest.mark.usefixtures("blank_figures")


def config() -> Config:
    """A tiny zoo, stolen by knockoff alone."""
    base = tiny()
    extraction = replace(base.extraction, attacks=("knockoff",), knockoff_pool="imagefolder")
    return replace(base, extraction=extraction, verdict=replace(base.verdict, methods=("uap",), n_resamples=1))


def test_seeds_and_a_grid_over_a_pool_of_another_data_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cards, verdicts and the report name the pool; a second run and a grid find every model; other images do not."""
    for launched in ("evaluation", "ablation"):  # a database of MLflow takes longer than all the rest
        monkeypatch.setattr(f"uapfp_dist.launch.{launched}.open_tracker", lambda paths: NullTracker())
    root = write_folder(tmp_path / "images", n=40)
    runtime = RuntimeConfig(storage=str(tmp_path / "s"), workers=0, data_root=root)
    reports = []
    run_seeds(config(), "tiny", (0,), tmp_path / "out", runtime, reports.append)
    (report,) = reports
    assert report.failures == ()
    assert {v.attack for v in report.verdicts} == {"", "knockoff from imagefolder"}
    assert list(report.weighted_errors_one_attack_out) == ["learnt from knockoff from imagefolder"]
    run_seeds(config(), "tiny", (0,), tmp_path / "out", runtime, reports.append)
    assert len(reports) == 1, "the report in the folder is that of this evaluation"
    store = Store(runtime.storage)
    origins = [
        store.get("model", path.stem).info["origin"] for path in (tmp_path / "s" / "model").glob("*.safetensors")
    ]
    assert {origin for origin in origins if "knockoff" in origin} == {
        "knockoff from imagefolder:hard",
        "knockoff from imagefolder:soft",
    }
    grid = run_grid(config(), "tiny", 0, runtime, ["n_points=5,10"])
    assert grid.models.trained == 0
    write_folder(tmp_path / "images" / "other", ("bird",), n=40)
    (tmp_path / "images" / "other" / "bird").rename(tmp_path / "images" / "bird")
    (tmp_path / "images" / "other").rmdir()
    with pytest.raises(UserError, match="expected the report of this evaluation"):
        run_seeds(config(), "tiny", (0,), tmp_path / "out", runtime, reports.append)
    with pytest.raises(UserError, match="expected another data set than the victim's"):
        run(replace(config(), data=replace(config().data, name="imagefolder")), "tiny", 0, runtime)
    assert "imagefolder: 80 images of 2 classes" in capsys.readouterr().err
