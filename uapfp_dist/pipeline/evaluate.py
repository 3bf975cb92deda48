"""The main path: from a plan to a report."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from uapfp_dist.pipeline.plan import Plan
from uapfp_dist.pipeline.report import Report
from uapfp_dist.pipeline.schedule import execute
from uapfp_dist.progress import Progress
from uapfp_dist.runtime import Pool
from uapfp_dist.specs import Spec
from uapfp_dist.store import Store
from uapfp_dist.types import Outcome


class Judge(Protocol):
    """The arbiter, here or in an actor."""

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Open the run."""

    def observe(self, outcome: Outcome) -> None:
        """Take note of an outcome."""

    def judge(self, context: Mapping[str, Any]) -> Report:
        """Fit, judge, show; `context` joins the report."""


def evaluate(
    plan: Plan, store: Store, pool: Pool, arbiter: Judge, progress: Progress, settings: Mapping[str, Any]
) -> Report:
    """Train, steal, probe, ask, judge. What is in the store is not done again.

    Args:
        plan: what is evaluated.
        store: artifacts.
        pool: where specs are performed; closed when the last one is done, so that judging has the machine.
        arbiter: hears of every outcome, makes the report.
        progress: tells a person how things stand.
        settings: tags of the run.
    """
    progress.expect(plan.specs)
    arbiter.begin(settings)
    for outcome in execute(plan.specs, pool, stored_in(store), progress.tick):
        progress.observe(outcome)
        arbiter.observe(outcome)
    pool.close()
    counts, seconds, busy = progress.counts(), progress.seconds(), progress.busy()
    return arbiter.judge({"models": counts, "stage_seconds": seconds, "workers_busy": busy})


def stored_in(store: Store) -> Callable[[Spec], bool]:
    """Whether a spec's artifact is there and whole; a torn one is removed, so that it is made again."""
    return lambda spec: store.intact(spec.kind, spec.id)
