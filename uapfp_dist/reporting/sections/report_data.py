"""What sections are made of: the plan, the scored resamples, the cards, and one tidy table of all scores."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd
from matplotlib.figure import Figure

from uapfp_dist.evaluation.judging import JudgedModels, attack_of, chosen_by, decision, model_scores, t_test_p
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.fingerprints.probe_data import Probe
from uapfp_dist.fingerprints.resamples import Resample
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.fingerprints.scoring import ScoredResample
from uapfp_dist.reporting.report_schema import EvaluationReport
from uapfp_dist.reporting.section_schema import SectionNumbers
from uapfp_dist.reporting.sections.paper_scoring import PaperScoring
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.statistics.conformal import CANNOT_DECIDE
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.model_card import ModelCard

NEVER_TRAIN = ("checkpoint_piracy", "overlap_homologous")
"""Roles outside the headline, which no resample trains on."""


@dataclass(frozen=True)
class ReportSection:
    """One table or figure of the paper, or one that it lacks, for people and for programs."""

    name: str
    """File names start with it."""
    title: str
    text: str
    """What is shown, on what, how to read it."""
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    numbers: SectionNumbers = field(default_factory=SectionNumbers)
    """For the report's JSON: the fields that are this section's own."""
    remarks: tuple[str, ...] = ()
    """What a reader must not miss."""


@dataclass(frozen=True)
class ReportData:
    """Everything a section may look at."""

    plan: Plan
    matrix: ResponseMatrix
    judged: JudgedModels
    resamples: Sequence[ScoredResample]
    probe: Probe
    cards: Mapping[str, ModelCard]
    """Model id to card, also of models that were made but have no responses."""
    store: Store
    report: EvaluationReport
    """Without its sections."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Preset, versions, hardware."""
    pool: int | None = None
    """Only the first so many stolen and independent models may train; None: all."""
    threads: int = 1
    """Encoders fitted at a time, each in one thread."""

    @property
    def alpha(self) -> float:
        """Tolerated rate of false accusation."""
        return self.plan.config.verdict.alpha

    def testable(self, resample: Resample) -> list[int]:
        """Rows that may be judged in a resample: its test models and those that no resample trains on."""
        never = [i for i, m in enumerate(self.judged.members) if m.role in NEVER_TRAIN]
        return [*resample.test, *never]

    def scores(self, method: str, fmt: ResponseFormat | None = None) -> pd.DataFrame:
        """A row per resample and model tested in it: who it is, how similar, with what conformal p-value.

        `accused` is NaN where calibration is too small to decide: "never accused" would be a merit it has not.
        """
        rows = []
        members = self.judged.members
        for resample, scored in chosen_by(self.resamples, method, fmt):
            scores = model_scores(scored)
            for row in self.testable(resample):
                found = decision(scores, row, resample, self.alpha)
                card = self.cards[members[row].spec.id]
                rows.append(
                    {
                        "draw": resample.index,
                        "row": row,
                        "model": members[row].spec.id,
                        "base": members[row].spec.root.id,
                        "role": members[row].role,
                        "architecture": members[row].spec.architecture,
                        "optimizer": members[row].spec.recipe.optimizer,
                        "attack": attack_of(members[row]),
                        "change": " + ".join(card.modifications),
                        "similarity": scores[row],
                        "p_value": found.p_value,
                        "accused": math.nan if found.claim == CANNOT_DECIDE else float(found.claim == "piracy"),
                        "accuracy": card.accuracy,
                        "recovery": card.recovery,
                    }
                )
        return pd.DataFrame(rows, columns=COLUMNS)

    @cached_property
    def paper_scoring(self) -> PaperScoring:
        """By what `paper` and `fingerprints` are scored: the paper's method on probabilities, or what stands in."""
        return PaperScoring.among(self.resamples[0].methods, self.plan.config.verdict.formats)

    @cached_property
    def paper(self) -> pd.DataFrame:
        """`scores` as in the paper, as far as they are there: see `paper_scoring`."""
        return self.scores(self.paper_scoring.method, self.paper_scoring.format)

    @cached_property
    def chosen(self) -> pd.DataFrame:
        """`scores` of `uap`, norms averaged and the format chosen."""
        return self.scores("uap")

    @cached_property
    def deciding(self) -> pd.DataFrame:
        """`scores` of the method that verdicts rest on."""
        return self.scores(self.plan.config.verdict.decided_by)

    @cached_property
    def fingerprints(self) -> pd.DataFrame:
        """A row per resample and tested stolen or independent model, scored as in `paper`: the similarity of each
        of its fingerprints (`views`) and the paper's t-test (`p`)."""
        members, rows = self.judged.members, []
        for resample, scored in chosen_by(self.resamples, self.paper_scoring.method, self.paper_scoring.format):
            for row in resample.tested(members, "piracy", "homologous"):
                spec = members[row].spec
                rows.append(
                    {
                        "model": spec.id,
                        "role": members[row].role,
                        "architecture": spec.architecture,
                        "optimizer": spec.recipe.optimizer,
                        "views": scored.scores[row].double().numpy(),
                        "p": t_test_p(scored, row, resample, "table2", resample.index, row),
                    }
                )
        return pd.DataFrame(rows, columns=["model", "role", "architecture", "optimizer", "views", "p"])

    def per_model(self, frame: pd.DataFrame) -> pd.DataFrame:
        """One row per model: means over the resamples in which it was tested."""
        numbers = {"similarity": "mean", "p_value": "mean", "accused": "mean", "accuracy": "first", "recovery": "first"}
        words = dict.fromkeys(("base", "role", "architecture", "optimizer", "attack", "change"), "first")
        # In the order of the plan: tables and figures show modifications as they were listed.
        grouped = frame.sort_values("row", kind="stable").groupby("model", sort=False)
        return grouped.agg({**words, **numbers}).reset_index()

    @property
    def setting(self) -> str:
        """Data, scale and number of models, to stand beside every number."""
        zoo = self.plan.config.zoo
        note = f" ({self.report.data_note})" if self.report.data_note else ""
        counts = pd.Series([m.role for m in self.judged.members]).value_counts()
        precision = "" if self.plan.config.precision == "float32" else f" in {self.plan.config.precision}"
        return (
            f"{self.plan.data.name}{note}, {zoo.width} channels, {zoo.epochs:g} epochs{precision}, seed "
            f"{self.plan.seed}: "
            f"{counts.get('piracy', 0)} stolen and {counts.get('homologous', 0)} independent models, "
            f"{len(self.resamples)} resamples"
        )


COLUMNS = [
    "draw", "row", "model", "base", "role", "architecture", "optimizer", "attack", "change",
    "similarity", "p_value", "accused", "accuracy", "recovery",
]  # fmt: skip
