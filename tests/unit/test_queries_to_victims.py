"""Images sent to victims: an extraction that was stopped several times sent them once."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

from system import tiny, tiny_plan

from uapfp_dist.reporting.rendering import queries_to_victims
from uapfp_dist.reporting.sections.report_data import ReportData
from uapfp_dist.tasks.members import Role


def test_an_extraction_counts_once_by_its_last_stop() -> None:
    """Two extractions, each stopped three times; a stop that was not reached counts nothing."""
    config = tiny()
    plan = tiny_plan(replace(config, studies=replace(config.studies, n_trajectories=2, recoveries=(0.3, 0.5, 0.7))))
    stops = [m.spec.id for m in plan.judged if m.role == Role.CHECKPOINT_PIRACY]
    assert len(stops) == 6
    others = [m.spec.id for m in plan.judged if m.spec.id not in stops]
    queries = dict.fromkeys(others, 1) | dict(zip(stops[:5], (100, 200, 300, 1000, 2000), strict=True))
    cards = {model: SimpleNamespace(queries=n) for model, n in queries.items()}
    data = cast(ReportData, SimpleNamespace(plan=plan, cards=cards))
    assert queries_to_victims(data) == len(others) + 300 + 2000
