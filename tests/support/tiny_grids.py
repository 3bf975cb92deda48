"""Grids over a tiny evaluation, a zoo that has answered, and a tracker that keeps what it receives."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from system import copy_store, tiny

from uapfp_dist.config.schema import Config, DataConfig
from uapfp_dist.data import Dataset, load
from uapfp_dist.evaluation.grid_axes import parse_grid
from uapfp_dist.evaluation.grid_cells import GridCell, make_cells
from uapfp_dist.reporting.grid_schema import Preparation
from uapfp_dist.reporting.report_schema import ModelCounts
from uapfp_dist.storage.store import Store
from uapfp_dist.tracking.tracker import NullTracker

NOTHING_MADE = Preparation(models=ModelCounts(trained=0, reused=0, failed=0))


def images(data: DataConfig) -> Dataset:
    """The digits, whatever is asked for."""
    return load("digits", None)


def small() -> Config:
    """The tiny evaluation, two draws per cell."""
    base = tiny()
    return replace(base, studies=replace(base.studies, n_resamples=2))


def learning_from_fewer() -> Config:
    """The same, an encoder from one model of each type: two of each are left to be tested, enough for an interval."""
    return replace(small(), verdict=replace(small().verdict, n_train=1))


def cells_of(*grid: str, config: Config | None = None) -> list[GridCell]:
    """Cells over the tiny evaluation."""
    return make_cells(parse_grid(grid), config or small(), 0, images)


@dataclass(frozen=True)
class SuspectAnswers:
    """A tiny zoo that has answered; copy its folder before changing it."""

    folder: Path

    def copy(self, to: Path, *kinds: str) -> Store:
        """A store with its artifacts, or with those of `kinds` alone."""
        return copy_store(self.folder, to, *kinds)


class Listener(NullTracker):
    """A tracker that keeps what it receives."""

    def __init__(self) -> None:
        self.nested: list[tuple[str, Mapping[str, str], Mapping[str, float]]] = []
        self.files: list[str] = []
        self.status = ""

    def log_suspect(self, name: str, tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """A nested run."""
        self.nested.append((name, tags, metrics))

    def log_files(self, folder: Path) -> None:
        """Names alone."""
        self.files += [str(file.relative_to(folder)) for file in folder.rglob("*.*")]

    def end_run(self, status: str) -> str:
        """Closed."""
        self.status = status
        return ""
