"""The report of a grid: what its file holds."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from uapfp_dist.reporting.report_schema import ModelCounts
from uapfp_dist.serialization import Number

GridRow = dict[str, int | Number | str]
"""The axes' values (numbers, or as written on the command line), then what was measured."""


@dataclass(frozen=True, kw_only=True)
class TrialCounts:
    """Cells that were computed now, and those that the store had."""

    run: int
    reused: int


@dataclass(frozen=True, kw_only=True)
class CellFailure:
    """A cell without a result."""

    cell: str
    error: str


@dataclass(frozen=True, kw_only=True)
class FailedSpec:
    """A model, probe or responses that a grid lacks."""

    id: str
    kind: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What had to be made before the trials."""

    models: ModelCounts
    failed_specs: tuple[FailedSpec, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GridReport:
    """One grid. Fields from `preset` on are filled when its run ends."""

    sweep: str
    """Its id."""
    grid: dict[str, tuple[str, ...]]
    """Axis to values."""
    cells: int
    trials: TrialCounts
    encoders_trained: int
    failures: tuple[CellFailure, ...] = ()
    table: tuple[GridRow, ...] = ()
    """A row per cell: means over resamples, intervals over models."""
    resamples: Annotated[tuple[GridRow, ...], Field(alias="draws")] = ()
    """A row per cell and resample."""
    models: ModelCounts
    failed_specs: tuple[FailedSpec, ...] = ()
    preset: str | None = None
    seed: int | None = None
    wall_seconds: float | None = None
