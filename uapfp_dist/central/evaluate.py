"""The main path: from a plan to a report."""

import math
from collections.abc import Mapping
from typing import Protocol

from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.execution.make_model import GateError, NotReachedError
from uapfp_dist.execution.stored import stored_specs
from uapfp_dist.fingerprints.selection import SmallClusterError
from uapfp_dist.models.blackbox import NotFiniteError
from uapfp_dist.progress import Progress
from uapfp_dist.reporting.report import Report
from uapfp_dist.reporting.report_schema import EvaluationReport, ModelCounts, RunStatistics
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.executor import Pool
from uapfp_dist.tasks.outcomes import Failed, Outcome
from uapfp_dist.tasks.scheduler import run_tasks

FINAL = tuple(error.__name__ for error in (GateError, NotReachedError, NotFiniteError, SmallClusterError))
"""Failures that another try would meet again: seeds are fixed."""


class Judge(Protocol):
    """The arbiter, here or in an actor."""

    def begin(self, settings: Mapping[str, str]) -> str:
        """Open the run; returns why the tracker cannot be reached now, or an empty string."""

    def observe(self, outcome: Outcome) -> None:
        """Take note of an outcome."""

    def note(self, numbers: Mapping[str, float], seconds: int) -> None:
        """Take note of how the work stands, `seconds` after its start."""

    def judge(self, statistics: RunStatistics) -> Report:
        """Fit, judge, put the report into the store; `statistics` join it."""

    def publish(self) -> str:
        """Show it in the tracker; returns why that was not possible, or an empty string."""


def evaluate(
    plan: Plan, store: Store, pool: Pool, arbiter: Judge, progress: Progress, settings: Mapping[str, str]
) -> Report:
    """Train, steal, probe, ask, judge. What is in the store is not done again.

    Args:
        plan: what is evaluated.
        store: artifacts.
        pool: where specs are performed; closed when the last one is done, so that judging has the machine.
        arbiter: hears of every outcome, makes the report.
        progress: tells a person how things stand.
        settings: tags of the run.

    Raises:
        UserError: the victim or its probe cannot be made: nothing could be judged, and nothing more is trained.
    """
    progress.expect(plan.specs)
    if away := arbiter.begin(settings):
        progress.say(f"{away}; the work goes on and is shown there when it is back")
    progress.watch(pool, arbiter.note)
    for outcome in run_tasks(plan.specs, pool, stored_specs(store, plan.specs), progress.refresh):
        progress.observe(outcome)
        arbiter.observe(outcome)
        if isinstance(outcome, Failed) and outcome.spec.id in (plan.members[0].spec.id, plan.probe.id):
            raise UserError(f"expected a victim and its probe, they could not be made ({outcome.error})")
    progress.note()
    pool.close()
    busy = progress.busy()
    counts, seconds = ModelCounts(**progress.counts()), progress.seconds()
    report = arbiter.judge(RunStatistics(counts, seconds, math.nan if busy is None else busy))
    if missing := arbiter.publish():
        progress.say(f"{missing}; the report is in the store, the same command shows it there later")
    return report


def is_final(report: EvaluationReport) -> bool:
    """Whether the same command would end the same way again: nothing failed that another try could make."""
    return all(failure.skipped or failure.error.startswith(FINAL) for failure in report.failures)
