"""Methods on extractions stopped at a recovery rate, against areas counted by hand."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from system import tiny, tiny_plan
from torch import Tensor

from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.fingerprints.methods.base import Candidate
from uapfp_dist.fingerprints.resamples import Resample, make_resample
from uapfp_dist.fingerprints.scoring import ScoredCandidate, ScoredResample
from uapfp_dist.reporting.sections.recovery_methods import recovery_methods
from uapfp_dist.reporting.sections.report_data import ReportData
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.statistics.auc import auc
from uapfp_dist.tasks.members import Role

METHODS = ("uap_paper", "churn")


def scored(scores: Tensor, fmt: ResponseFormat, training_auc: float) -> ScoredCandidate:
    """Scores as a method's candidate."""
    return ScoredCandidate(Candidate((), fmt), scores[:, None], training_auc, 0.0, 10)


def report_data(plan: Plan, scores: Tensor, n: int = 2) -> ReportData:
    """`n` resamples in which both methods have these scores; of `uap_paper` labels, which were chosen, have none."""
    resamples = [make_resample(plan.judged, i, 2, 2, "0") for i in range(n)]
    either = {
        "uap_paper": (scored(scores, PROBABILITIES, 0.1), scored(torch.zeros(len(scores)), LABEL, 0.9)),
        "churn": (scored(scores, LABEL, 0.5),),
    }
    cards = {m.spec.id: SimpleNamespace(recovery=0.5 if m.role == Role.CHECKPOINT_PIRACY else 0.9) for m in plan.judged}
    data = SimpleNamespace(plan=plan, judged=SimpleNamespace(members=plan.judged), cards=cards, setting="digits")
    data.resamples = [ScoredResample(resample, either, {}) for resample in resamples]
    return cast(ReportData, data)


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Two extractions stopped at three levels."""
    config = tiny()
    zoo = replace(config.zoo, n_piracy=5, n_homologous=6)
    studies = replace(config.studies, n_trajectories=2, recoveries=(0.3, 0.5, 0.7))
    return tiny_plan(replace(config, zoo=zoo, studies=studies))


def by_hand(plan: Plan, scores: Tensor, resamples: list[Resample], level: float, role: str) -> float:
    """Mean AUC over resamples."""
    areas = []
    for resample in resamples:
        positive = [
            row
            for row, m in enumerate(plan.judged)
            if (m.role == Role.CHECKPOINT_PIRACY and getattr(m.spec.origin, "recovery", None) == level)
            or (math.isnan(level) and m.role == Role.PIRACY and row in resample.test)
        ]
        negative = [row for row in resample.test if plan.judged[row].role == role]
        areas.append(auc(scores[positive], scores[negative]))
    return sum(areas) / len(areas)


def test_each_level_has_the_area_of_its_models(plan: Plan) -> None:
    """And the finished models theirs; the paper's method by probabilities, whichever format was chosen."""
    scores = torch.rand(len(plan.judged), generator=torch.Generator().manual_seed(0))
    data = report_data(plan, scores)
    section = recovery_methods(data)
    assert section is not None
    rows = section.numbers.recovery_methods
    assert rows is not None
    assert [row.method for row in rows] == [method for method in METHODS for _ in range(4)]
    resamples = [d.resample for d in data.resamples]
    for row in rows:
        for group, role in (("homologous", "homologous"), ("other_victim", "other_victim_piracy")):
            wanted = by_hand(plan, scores, resamples, row.level, role)
            assert getattr(row, f"auc_{group}") == pytest.approx(wanted, abs=1e-6, nan_ok=True), (row, group)
        stopped = not math.isnan(row.level)
        assert row.recovery == pytest.approx(0.5 if stopped else 0.9)
        assert row.models == 2 if stopped else row.models > 0
        assert math.isnan(row.similarity) == (row.method == "churn"), "only encoders have a similarity"
    assert set(section.figures) == {"recovery_methods"}


def test_without_stopped_extractions_there_is_no_section(plan: Plan) -> None:
    none = tiny_plan(tiny())
    assert recovery_methods(report_data(none, torch.zeros(len(none.judged)))) is None
