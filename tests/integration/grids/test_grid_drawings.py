"""Which figures the report of a grid has."""

from pathlib import Path

import pytest
from drawing import drawn
from tiny_grids import NOTHING_MADE, SuspectAnswers, cells_of

from uapfp_dist.central.grid_recorder import GridRecorder
from uapfp_dist.reporting.grid_report import grid_figures
from uapfp_dist.tracking.tracker import NullTracker


def test_nothing_to_draw_is_drawn_as_nothing(answered: SuspectAnswers, tmp_path: Path) -> None:
    cells = cells_of("n_points=3,10")
    recorder = GridRecorder(cells, answered.copy(tmp_path / "s"), NullTracker())
    report = recorder.finish({cell.name: "dead" for cell in cells}, NOTHING_MADE)
    assert (report.table, len(report.failures)) == ((), 2)
    assert grid_figures(report) == {}


@pytest.mark.parametrize(
    ("grid", "drawn_as"),
    [
        (("n_points=3,10",), {"lines"}),
        (("top_k=0,10",), {"lines"}),
        (("loss=supcon,autoencoder",), {"lines"}),
        (("n_points=3,10", "top_k=0,10"), {"map", "lines"}),
        (("n_points=3,10", "loss=supcon,autoencoder"), {"map", "lines"}),
        (("loss=supcon,autoencoder", "n_points=3,10"), {"map"}),
        (("n_points=3,10", "top_k=0,10", "loss=supcon,autoencoder"), {"map"}),
    ],
)
def test_grids_of_every_kind_are_drawn(
    grid: tuple[str, ...], drawn_as: set[str], answered: SuspectAnswers, tmp_path: Path
) -> None:
    report = GridRecorder(cells_of(*grid), answered.copy(tmp_path / "s"), NullTracker()).finish({}, NOTHING_MADE)
    found = grid_figures(report)
    assert set(found) == drawn_as
    for figure in found.values():
        drawn(lambda figure=figure: figure)
