"""What a folder of results holds: a measurement for each section of its page."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from uapfp_dist.errors import UserError
from uapfp_dist.reporting.report import EvaluationReport
from uapfp_dist.reporting.report_schema import read_report
from uapfp_dist.serialization import Json, from_json

INDEX = "index.json"
"""The list of measurements, beside their files."""

Kind: TypeAlias = Literal[
    "seeds",
    "evaluation",
    "headline",
    "lineage",
    "kit_power",
    "kit_robustness",
    "exact_power",
    "precision",
    "driver",
    "deaths",
    "numbers",
]
"""How the files of a measurement are shown: reports over seeds; one report; reports on several data sets beside the
paper's headline; reports against models stolen from siblings; rates of kits over zoos; one kit's verdicts on modified
models; exact sibling tests over zoos; two precisions; what tasks cost their driver; random deaths of jobs/hosts.py;
numbers of the index."""


@dataclass(frozen=True)
class Picture:
    """A figure of a measurement."""

    file: str
    alt: str


@dataclass(frozen=True)
class Row:
    """A number that has no file of its own."""

    what: str
    value: str


@dataclass(frozen=True)
class Measurement:
    """A section of the page."""

    title: str
    kind: Kind
    date: str
    """YYYY-MM-DD, of the run."""
    hardware: str
    command: str
    files: tuple[str, ...] = ()
    summary: str = ""
    """What it says, in a few sentences."""
    disclosures: tuple[str, ...] = ()
    """What a reader must know to trust it: settings tried, evaluations repeated, what was left out."""
    pictures: tuple[Picture, ...] = ()
    rows: tuple[Row, ...] = ()
    """Of kind `numbers` and `driver`."""


@dataclass(frozen=True)
class Results:
    """A folder of results."""

    folder: Path
    introduction: str
    measurements: tuple[Measurement, ...]

    def json(self, file: str) -> Json:
        """The content of one of its JSON files.

        Raises:
            UserError: there is none, or it is no JSON.
        """
        return _read(self.folder / file)

    def reports(self, measurement: Measurement) -> Iterator[EvaluationReport]:
        """The reports of a measurement.

        Raises:
            UserError: a file is missing or is no report.
        """
        for file in measurement.files:
            try:
                yield read_report(self.json(file))
            except UserError as error:
                raise UserError(f"{self.folder / file}: {error}") from error


@dataclass(frozen=True)
class _Index:
    introduction: str
    measurements: tuple[Measurement, ...]


def read_results(folder: Path) -> Results:
    """The measurements in `folder/index.json`.

    Raises:
        UserError: no index there, it is broken, or a file of it is missing.
    """
    try:
        index = from_json(_Index, _read(folder / INDEX))
    except ValueError as error:
        raise UserError(f"{folder / INDEX}: expected an index of results ({error})", argument="folder") from error
    named = [name for m in index.measurements for name in (*m.files, *(picture.file for picture in m.pictures))]
    if missing := sorted({name for name in named if not (folder / name).exists()}):
        raise UserError(
            f"{folder / INDEX}: expected {missing[0]} beside it, found none; put it there", argument="folder"
        )
    return Results(folder, index.introduction, index.measurements)


def _read(path: Path) -> Json:
    try:
        content: Json = json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"folder: expected {path} ({error.strerror}); name a folder of results") from error
    except ValueError as error:
        raise UserError(f"{path}: expected JSON ({error})", argument="folder") from error
    return content
