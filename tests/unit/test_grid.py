"""The names of a grid's cells, and its state on disk."""

from dataclasses import replace
from pathlib import Path

import pytest
from system import tiny

from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.config.schema import DataConfig
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.grid_axes import in_text, parse_grid
from uapfp_dist.evaluation.grid_cells import GridCell, make_cells
from uapfp_dist.launch.ablation import GridRun, run_grid
from uapfp_dist.progress import Progress
from uapfp_dist.reporting.grid_report import grid_id
from uapfp_dist.storage.store import Store


def cells_of(digits: Dataset, *axes: str) -> list[GridCell]:
    """The cells of a grid over a tiny evaluation."""

    def dataset(data: DataConfig) -> Dataset:
        return digits

    return make_cells(parse_grid(axes), tiny(), 0, dataset)


def test_every_storage_has_a_state_of_its_own(digits: Dataset, tmp_path: Path) -> None:
    """One that has no trials yet does not take those of another for done."""
    cells = cells_of(digits, "n_points=5,10")
    runtime = RuntimeConfig(storage=str(tmp_path))

    def experiment(storage: str) -> str:
        paths = replace(resolve(runtime), storage=storage)
        return GridRun(cells, Store(str(tmp_path)), paths, runtime, Progress(workers=0), {}, {})._experiment()

    assert experiment("/shared/results") == f"/shared/results/tune/{grid_id(cells)}"
    one, other = experiment("s3://bucket/one"), experiment("s3://bucket/other")
    assert one != other
    assert experiment("s3://bucket/one/") == one, "the same command resumes"
    for path in (one, other):
        assert Path(path).parent == Path.home() / "uapfp_dist" / "tune"
        assert Path(path).name.startswith(f"{grid_id(cells)}-")


@pytest.mark.parametrize(
    "axis",
    ["encoder.tau=0.1234567,0.12345671", "uap.xi_fractions=0.5+0.70000001,0.5+0.7", "zoo.epochs=123456.7,123456.71"],
)
def test_different_values_name_different_cells(axis: str, digits: Dataset) -> None:
    """Else one is never run, and is shown with the numbers of the other."""
    cells = cells_of(digits, axis)
    assert len({cell.id for cell in cells}) == 2
    assert len({cell.name for cell in cells}) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.05, "0.05"), (10.0, "10"), (1e-4, "0.0001"), (1e-7, "1e-07"), ((0.5, 1.0), "0.5+1"), (1 / 3, repr(1 / 3))],
)
def test_values_are_short_where_that_tells_them_apart(value: object, text: str) -> None:
    """The names of cells of before stay what they are."""
    assert in_text(value) == text


def test_a_grid_whose_axis_changes_nothing_is_refused_before_any_work(tmp_path: Path) -> None:
    runtime = RuntimeConfig(storage=str(tmp_path / "s"), workers=0)
    with pytest.raises(UserError, match=r"^grid verdict\.alpha: expected something that changes"):
        run_grid(tiny(), "digits", 0, runtime, ["verdict.alpha=0.3,0.5"])
    assert not (tmp_path / "s").exists()
