"""The report of an evaluation: what its file holds. The file's JSON schema is generated from these classes."""

import math
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field, PlainSerializer

from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.judging import CHOSEN, NEGATIVE_GROUPS, Group
from uapfp_dist.evaluation.verdicts import Verdict
from uapfp_dist.fingerprints.probe_data import UapSet
from uapfp_dist.reporting.section_schema import SectionNumbers
from uapfp_dist.serialization import Number, from_json
from uapfp_dist.statistics.auc import Estimate
from uapfp_dist.tasks.hashing import wire_form
from uapfp_dist.tasks.specs import DataSpec

VERSION = 1
AucTable = dict[str, dict[str, dict[Group, Number]]]
"""Method to format (`chosen`: chosen on the training models) to group of negatives to AUC."""


@dataclass(frozen=True, kw_only=True)
class VictimSummary:
    """The victim; accuracy on EVAL."""

    accuracy: Number
    architecture: str


@dataclass(frozen=True, kw_only=True)
class ChosenUap:
    """What `uap` queries with on resample 0."""

    xi: tuple[Number, ...]
    format: str


@dataclass(frozen=True, kw_only=True)
class UapSummary:
    """The paper's UAP, and those of all norms by their share of xi."""

    algorithm: str
    xi: Number
    """l2 norm in pixels of [0, 1]."""
    fooling_rate: Number
    """Of held-out images, before clipping to [0, 1]."""
    fooling_rate_clipped: Number
    target_reached: bool
    mean_image_norm: Number
    chosen: ChosenUap
    all: dict[str, UapSet]


@dataclass(frozen=True, kw_only=True)
class NaturalPoints:
    """Images that the victim gets wrong, and how many others had to be added."""

    errors: int
    topped_up: int


@dataclass(frozen=True, kw_only=True)
class TprNegatives:
    """Homologous test models, and how many a false positive rate needs."""

    models: int
    needed: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class FalseAccusation:
    """Share of the negatives accused at alpha; empty where calibration is too small to decide."""

    alpha: float
    conformal: dict[Group, Number]
    t_test: dict[Group, Number]
    conformal_weighted_errors: dict[Group, Number]
    architecture_left_out: dict[str, Number]
    """Independent models of an architecture that calibration has not seen."""
    optimizer_left_out: dict[str, Number]


@dataclass(frozen=True, kw_only=True)
class Power:
    """Share of the stolen models accused at alpha; NaN or empty where calibration is too small to decide."""

    conformal: Number
    t_test: Number
    conformal_weighted_errors: Number
    by_role: dict[str, Number]
    by_role_weighted_errors: dict[str, Number]


@dataclass(frozen=True, kw_only=True)
class CalibrationSizes:
    """Models that resample 0 calibrates with."""

    models: int
    """Homologous to the victim."""
    other_victim: int
    """Stolen from other victims."""
    needed: int
    """Of each to decide at alpha."""


@dataclass(frozen=True, kw_only=True)
class ModelCounts:
    """Models made now, found in the store, and those that could not be made."""

    trained: int
    reused: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class SpecFailure:
    """What could not be made, and why."""

    id: str
    kind: str
    description: Annotated[str, Field(alias="words")]
    error: str
    details: str
    """The last lines of the traceback, where there is one."""
    skipped: Annotated[bool, Field(alias="lost")]
    """True when it was never tried because something it needs failed."""
    permanent: bool | None = None
    """Whether another try would fail again; None: not known."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Versions and hardware."""

    python: str
    torch: str
    ray: str
    mlflow: str
    numpy: str
    scikit_learn: Annotated[str, Field(alias="scikit-learn")]
    cpus: str
    machine: str
    gpu: str


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """One evaluation. Fields from `models` on are filled as the run comes to its end."""

    evaluation: str
    seed: int
    data: Annotated[DataSpec, PlainSerializer(wire_form)]
    victim: VictimSummary
    uap: UapSummary
    natural: NaturalPoints
    auc: AucTable
    """Of piracy, mean over resamples."""
    auc_detail: dict[str, dict[str, dict[Group, Estimate]]]
    auc_soft_piracy: AucTable
    weighted_errors_one_attack_out: dict[str, dict[Group, Number]]
    """AUC of weighted errors that learned from the piracy of one attack alone, tested on that of the other attacks."""
    tpr: dict[str, dict[str, Number]]
    """Method to false positive rate to the share of piracy caught; NaN: too few negatives for that rate."""
    tpr_negatives: TprNegatives | None = None
    false_accusation: FalseAccusation
    power: Power
    calibration: CalibrationSizes
    decided_by: str
    queries_per_suspect: Annotated[int, Field(alias="unique_queries_per_suspect")]
    n_resamples: Annotated[int, Field(alias="draws")]
    choices: dict[str, dict[str, int]]
    """Method to `<block>/<format>` to the number of resamples that chose it."""
    verdicts: tuple[Verdict, ...]
    """On the test models of resample 0."""
    remarks: tuple[str, ...]
    models: ModelCounts | None = None
    stage_seconds: dict[str, Number] = field(default_factory=dict)
    workers_busy: Number = math.nan
    failures: tuple[SpecFailure, ...] = ()
    preset: str = ""
    data_note: str = ""
    sections: Annotated[SectionNumbers, Field(alias="exhibits")] = field(default_factory=SectionNumbers)
    wall_seconds: float | None = None
    environment: Environment | None = None
    victims: dict[Group, int] | None = None
    """Group of models stolen from others to the number of victims among those that resample 0 tests; None: by earlier
    code, whose intervals against them are over models."""
    precision: str | None = None
    """In which models were trained; absent: float32."""
    version: int | None = None
    """Of this schema; absent: 1, the only one so far."""


def reported_groups(*reports: EvaluationReport) -> list[Group]:
    """The groups of negatives that one of the reports has an AUC against."""
    there = {group for report in reports for group in report.auc["uap"][CHOSEN]}
    return [group for group in NEGATIVE_GROUPS if group in there]


def read_report(value: object) -> EvaluationReport:
    """A report from its JSON, also one by earlier code.

    Raises:
        UserError: it is by newer code, or none.
    """
    version = value.get("version") if isinstance(value, dict) else None
    if version not in (None, VERSION):
        raise UserError(f"report: expected schema version {VERSION}, got {version}; update this package")
    try:
        return from_json(EvaluationReport, value)
    except ValueError as error:
        raise UserError(f"report: expected one of an evaluation, it is not ({error})") from error
