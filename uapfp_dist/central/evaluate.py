"""The main path: from a plan to a report."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.execution.stored import stored_specs
from uapfp_dist.progress import Progress, WorkSummary
from uapfp_dist.reporting.report import Report
from uapfp_dist.reporting.report_schema import SpecFailure
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.outcomes import Failed, Outcome
from uapfp_dist.tasks.pool import Pool
from uapfp_dist.tasks.scheduler import run_tasks
from uapfp_dist.tracking.tracker import where_shown


class EvaluatorProtocol(Protocol):
    """An evaluator, in this process or in an actor."""

    def begin(self, settings: Mapping[str, str]) -> str:
        """Open the run; returns why the tracker cannot be reached now, or an empty string."""

    def observe(self, outcome: Outcome) -> None:
        """Take note of an outcome."""

    def note(self, numbers: Mapping[str, float], seconds: int) -> None:
        """Take note of the state of the work, `seconds` after its start."""

    def judge(self, work: WorkSummary) -> Report:
        """Fit, judge, put the report into the store; `work` joins it."""

    def publish(self) -> str:
        """Show it in the tracker; returns why that was not possible, or an empty string."""

    def page(self) -> str:
        """The address of the run's page, or an empty string."""


def evaluate(
    plan: Plan,
    store: Store,
    pool: Pool,
    evaluator: EvaluatorProtocol,
    progress: Progress,
    settings: Mapping[str, str],
) -> Report:
    """Train, extract, probe, query, judge. What is in the store is not done again.

    Args:
        plan: what is evaluated.
        store: artifacts.
        pool: where specs are performed; closed when the last one is done, so that judging has the machine.
        evaluator: receives every outcome, makes the report.
        progress: shows a person the state of the work.
        settings: tags of the run.

    Raises:
        UserError: the victim or its probe cannot be made: nothing could be judged, and nothing more is trained.
    """
    progress.expect(plan.specs)
    if away := evaluator.begin(settings):
        progress.say(f"{away}; the work goes on and is shown there when it is back")
    progress.watch(pool, evaluator.note)
    for outcome in run_tasks(plan.specs, pool, stored_specs(store, plan.specs), progress.refresh):
        progress.observe(outcome)
        evaluator.observe(outcome)
        if isinstance(outcome, Failed) and outcome.spec.id in plan.indispensable:
            raise UserError(
                f"expected {plan.indispensable[outcome.spec.id]}, it could not be made ({outcome.error}); without it "
                "nothing can be judged"
            )
    progress.note()
    pool.close()
    report = evaluator.judge(progress.summary())
    if missing := evaluator.publish():
        progress.say(f"{missing}; the report is in the store, the same command shows it there later")
    elif page := evaluator.page():
        progress.say(where_shown(page))
    return report


def is_final(failures: Iterable[SpecFailure]) -> bool:
    """Whether the same command would end the same way again: another try could make none of a report's `failures`."""
    return all(is_permanent(failure) for failure in failures)


def is_permanent(failure: SpecFailure) -> bool:
    """Whether another try would end the same way, as far as the report knows."""
    return _was_permanent(failure) if failure.permanent is None else failure.permanent


def _was_permanent(failure: SpecFailure) -> bool:
    """The same of a report by earlier code, which stored no `permanent`: its messages begin with the error's name."""
    names = ("GateError", "NotReachedError", "NotFiniteError", "SmallClusterError")
    return failure.skipped or failure.error.startswith(names)
