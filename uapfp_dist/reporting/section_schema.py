"""The numbers of a report's sections, as they stand in its JSON under `exhibits`."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

import pandas as pd
from pydantic import BeforeValidator, Field, WithJsonSchema

from uapfp_dist.evaluation.judging import Group
from uapfp_dist.reporting.churn_schema import ChurnBudget, ChurnPool, ExactClaims, SiblingGroup
from uapfp_dist.reporting.recovery_schema import MethodAtRecovery, RecoveryBin
from uapfp_dist.reporting.reference_schema import MatchingRates, SubspaceNumbers
from uapfp_dist.reporting.removal_schema import RemovalGroup
from uapfp_dist.serialization import Number, from_json, json_schema

T = TypeVar("T")
MaybeNumber = Annotated[
    float | None,
    BeforeValidator(lambda value: math.nan if value is None else value),
    WithJsonSchema({"type": ["number", "null"]}),
]
"""A number whose key may be absent: None where it is, NaN where it is null."""


def rows_of(kind: type[T], table: pd.DataFrame) -> tuple[T, ...]:
    """The rows of a table as dataclasses whose fields are its columns.

    Raises:
        TypeError: a column is no field.
    """
    if lost := set(table.columns) - json_schema(kind)["properties"].keys():
        raise TypeError(f"{kind.__name__}: expected a field for every column, {sorted(lost)} have none")
    return tuple(from_json(kind, row) for row in table.to_dict("records"))


@dataclass(frozen=True, kw_only=True)
class ClaimCheck:
    """A claim of the paper, what was measured and what that makes of it."""

    claim: str
    paper: str
    measured: str
    rule: str
    outcome: Literal["reproduced", "partly", "not reproduced", "not measured"]


@dataclass(frozen=True, kw_only=True)
class PaperComparison:
    """A number of the paper beside ours, with a 95 % interval over models."""

    where: str
    quantity: str
    paper: str
    ours: Number
    ours_low: Number
    ours_high: Number
    holds: str
    """yes or no; empty where the paper gives no bound."""


@dataclass(frozen=True, kw_only=True)
class AucBesidePaper:
    """Of reports before there was `beside_paper`."""

    method: str
    format: str
    auc: Number
    low: Number
    high: Number
    minimum: Annotated[float, Field(alias="minimum over draws")]
    paper: Number
    about: str


@dataclass(frozen=True, kw_only=True)
class ZooNumbers:
    """Mean recovery of the stolen models: their accuracy over the victim's."""

    mean_recovery: Number
    mean_recovery_low: Number = math.nan
    mean_recovery_high: Number = math.nan


@dataclass(frozen=True, kw_only=True)
class SimilarityCell:
    """Fingerprints of one architecture and optimizer; a role without models has no numbers."""

    architecture: str
    optimizer: str
    homologous_mean: MaybeNumber = None
    homologous_low: MaybeNumber = None
    homologous_high: MaybeNumber = None
    homologous_std: MaybeNumber = None
    homologous_p: MaybeNumber = None
    homologous_models: int | MaybeNumber = None
    piracy_mean: MaybeNumber = None
    piracy_low: MaybeNumber = None
    piracy_high: MaybeNumber = None
    piracy_std: MaybeNumber = None
    piracy_p: MaybeNumber = None
    piracy_models: int | MaybeNumber = None


@dataclass(frozen=True, kw_only=True)
class SimilarityGaps:
    """Between mean similarities of stolen and independent models; empty where a side was not tested."""

    largest: MaybeNumber = None
    largest_low: MaybeNumber = None
    largest_high: MaybeNumber = None
    smallest: MaybeNumber = None
    smallest_low: MaybeNumber = None
    smallest_high: MaybeNumber = None


@dataclass(frozen=True, kw_only=True)
class TTestRates:
    """Share of (model, resample) pairs that the paper's t-test rejects, of the roles that were tested."""

    homologous: MaybeNumber = None
    homologous_low: MaybeNumber = None
    homologous_high: MaybeNumber = None
    piracy: MaybeNumber = None
    piracy_low: MaybeNumber = None
    piracy_high: MaybeNumber = None


@dataclass(frozen=True, kw_only=True)
class SimilarityShares:
    """Share of the fingerprints above a similarity, of the roles that were tested."""

    piracy: Annotated[MaybeNumber, Field(alias="piracy_above_.8")] = None
    piracy_low: Annotated[MaybeNumber, Field(alias="piracy_above_.8_low")] = None
    piracy_high: Annotated[MaybeNumber, Field(alias="piracy_above_.8_high")] = None
    homologous: Annotated[MaybeNumber, Field(alias="homologous_above_.4")] = None
    homologous_low: Annotated[MaybeNumber, Field(alias="homologous_above_.4_low")] = None
    homologous_high: Annotated[MaybeNumber, Field(alias="homologous_above_.4_high")] = None


@dataclass(frozen=True, kw_only=True)
class SweepNumbers:
    """An encoder retrained under one setting: means over resamples, intervals over models."""

    gap: Number
    gap_low: Number = math.nan
    gap_high: Number = math.nan
    auc: Number
    auc_low: Number = math.nan
    auc_high: Number = math.nan
    auc_other_victim: Number
    auc_other_victim_low: Number = math.nan
    auc_other_victim_high: Number = math.nan
    piracy: Number
    homologous: Number


@dataclass(frozen=True, kw_only=True)
class ModifiedGroup:
    """Models of one role after one modification."""

    modification: str
    role: str
    similarity: Number
    accused: Number
    accuracy: Number
    accuracy_before: Number = math.nan
    similarity_low: Number
    similarity_high: Number
    models: int
    lowest_similarity: Number
    similarity_chosen: Number
    accused_chosen: Number
    similarity_chosen_low: Number
    similarity_chosen_high: Number


@dataclass(frozen=True, kw_only=True)
class DestroyedModel:
    """A modified model whose responses are NaN."""

    model: str
    role: str
    modification: str
    accuracy_before: Number
    accuracy: Number


@dataclass(frozen=True, kw_only=True)
class AdversarialGroup:
    """Models of one role after so many iterations of adversarial training."""

    iterations: int
    labels: str
    role: str
    similarity: Number
    accused: Number
    accuracy: Number
    similarity_low: Number
    similarity_high: Number
    models: int
    similarity_chosen: Number
    accused_chosen: Number
    similarity_chosen_low: Number
    similarity_chosen_high: Number


@dataclass(frozen=True, kw_only=True)
class OverlapGroup:
    """Independent models whose training set shares a part of the victim's."""

    method: str
    overlap: float
    similarity: Number
    accused: Number
    auc: Number
    similarity_low: Number
    similarity_high: Number
    auc_low: Number
    auc_high: Number
    models: int


@dataclass(frozen=True, kw_only=True)
class FoolingRate:
    """How often the UAP moves the label of the models of a role."""

    fooling_rate: Number
    fooling_rate_low: Number
    fooling_rate_high: Number
    models: int


@dataclass(frozen=True, kw_only=True)
class SectionNumbers:
    """Each section's numbers; None where there is no such section. A section fills the fields that are its own."""

    claims: tuple[ClaimCheck, ...] | None = None
    beside_paper: tuple[PaperComparison, ...] | None = None
    auc_vs_paper: tuple[AucBesidePaper, ...] | None = None
    auc_at_equal_budget: dict[str, dict[Group, Number]] | None = None
    churn: tuple[ChurnBudget, ...] | None = None
    churn_pools: tuple[ChurnPool, ...] | None = None
    siblings: tuple[SiblingGroup, ...] | None = None
    exact: tuple[ExactClaims, ...] | None = None
    ipguard: tuple[MatchingRates, ...] | None = None
    zoo: ZooNumbers | None = None
    subspace: SubspaceNumbers | None = None
    similarity_by_architecture: tuple[SimilarityCell, ...] | None = None
    similarity_gaps: SimilarityGaps | None = None
    paper_t_test: TTestRates | None = None
    exactly_zero: dict[str, Number] | None = None
    cdf: dict[str, SimilarityShares] | None = None
    cdf_all: SimilarityShares | None = None
    n_points: dict[str, SweepNumbers] | None = None
    top_k: dict[str, SweepNumbers] | None = None
    confidence: dict[str, Number] | None = None
    recovery: tuple[RecoveryBin, ...] | None = None
    recovery_methods: tuple[MethodAtRecovery, ...] | None = None
    modifications: tuple[ModifiedGroup, ...] | None = None
    destroyed: tuple[DestroyedModel, ...] | None = None
    adversarial: tuple[AdversarialGroup, ...] | None = None
    removal: tuple[RemovalGroup, ...] | None = None
    overlap: tuple[OverlapGroup, ...] | None = None
    n_views: dict[str, SweepNumbers] | None = None
    loss: dict[str, SweepNumbers] | None = None
    view_algorithms: dict[str, SweepNumbers] | None = None
    paper_row: dict[str, SweepNumbers] | None = None
    fooling: dict[str, FoolingRate] | None = None


def joined(parts: Iterable[SectionNumbers]) -> SectionNumbers:
    """All parts as one; where two fill a field the later one counts."""
    filled = {name: value for part in parts for name, value in vars(part).items() if value is not None}
    return SectionNumbers(**filled)
