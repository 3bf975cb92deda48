"""A tiny evaluation that is finished, its verdicts, and pools that refuse some of its work."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from system import context_on, copy_store

from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.reporting.report import Report
from uapfp_dist.serialization import to_json
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.pool import SerialPool
from uapfp_dist.tasks.specs import ResponseSpec


@dataclass(frozen=True)
class Finished:
    """A tiny evaluation that was run once for all tests; copy its folder before changing it."""

    plan: Plan
    folder: Path
    report: Report

    def copy(self, to: Path, *kinds: str) -> Store:
        """A store with its artifacts of `kinds`, or with all."""
        return copy_store(self.folder, to, *kinds)


def verdicts(report: Report) -> list[dict[str, Any]]:
    """To be compared exactly: floats to the last bit."""
    found: list[dict[str, Any]] = to_json(report.body)["verdicts"]
    return found


def refusing(store: Store, why: Callable[[Spec], str | None]) -> SerialPool:
    """A pool in which some specs raise."""
    context = context_on(store)

    def struck_or_done(spec: Spec) -> None:
        cause = why(spec)
        if cause:
            raise RuntimeError(cause)
        perform_task(context, spec)

    return SerialPool(struck_or_done)


def no_training(store: Store) -> SerialPool:
    """A pool in which training a model or making a probe is an error."""
    return refusing(store, lambda s: None if isinstance(s, ResponseSpec) else "should have been in the store")
