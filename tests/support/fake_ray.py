"""A central actor's Ray, simulated: actors whose results are thunks, and faults instead of some of them."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

from uapfp_dist.cluster.central_actor import Call, _Host
from uapfp_dist.cluster.central_evaluator import CentralEvaluator
from uapfp_dist.cluster.central_recorder import CentralRecorder
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.progress import Progress, WorkSummary
from uapfp_dist.reporting.grid_schema import GridReport
from uapfp_dist.reporting.report import Report
from uapfp_dist.reporting.report_schema import EvaluationReport
from uapfp_dist.tracking.tracker import NullTracker

REPORT = Report(cast(EvaluationReport, None), {})
"""Only handed on."""
GRID_REPORT = cast(GridReport, object())
WORK = WorkSummary({}, {}, None)
DRIVERS_NODE = "ab" * 28


@dataclass
class FakeRay:
    """Actors whose results are thunks; `faults` are raised, one after the other, instead of the results of a call."""

    faults: dict[str, list[Exception]]
    events: list[str] = field(default_factory=list)
    made: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    gpus: float = 0.0
    """Of the cluster."""
    gpus_here: float = 0.0
    """Of the driver's node."""
    found: Any = (1, 2)
    """What `progress` finds, once the object is built."""

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"NodeID": DRIVERS_NODE, "Resources": {"CPU": 1.0, "GPU": self.gpus_here}},
            {"NodeID": "cd" * 28, "Resources": {"CPU": 1.0, "GPU": self.gpus - self.gpus_here}},
        ]

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0, "GPU": self.gpus} if self.gpus else {"CPU": 2.0}

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: DRIVERS_NODE)

    def wait(self, references: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return references, []

    def remote(self, **options: Any) -> Callable[[Any], Any]:
        self.options = options
        return lambda kind: SimpleNamespace(remote=lambda *arguments: self._actor())

    def _actor(self) -> Any:
        self.made += 1
        number = self.made
        self.events.append(f"made {number}" + " with a GPU" * bool(self.options["num_gpus"]))
        results = {"begin": "", "judge": REPORT, "progress": self.found, "publish": "", "finish": GRID_REPORT}

        def call(name: str, *arguments: Any) -> Callable[[], Any]:
            self.events.append(f"{name} {number}")
            return lambda: results.get(name)

        def named(name: str) -> Any:
            return SimpleNamespace(remote=lambda *arguments: (name, call(name, *arguments)))

        def call_each(calls: list[Call]) -> tuple[str, Callable[[], list[UserError | str]]]:
            self.events.append(f"received {number}")
            for name, _ in calls:
                call(name)
            host = _Host(lambda: SimpleNamespace(**{name: partial(self._faulty, name) for name, _ in calls}))
            return "received", lambda: host.call_each(calls)

        method = SimpleNamespace(remote=lambda name, *arguments: (name, call(name, *arguments)))
        several = SimpleNamespace(remote=call_each)
        return SimpleNamespace(call=method, call_each=several, progress=named("progress"), number=number)

    def _faulty(self, name: str, *arguments: Any) -> None:
        if self.faults.get(name):
            raise self.faults[name].pop(0)

    def get(self, reference: Any, timeout: float | None = None) -> Any:
        name, result = reference
        if self.faults.get(name):
            raise self.faults[name].pop(0)
        return result()

    def kill(self, actor: Any) -> None:
        self.events.append(f"killed {actor.number}")


def on_no_storage(plan: Plan, out: io.StringIO | None = None, bound: str = "") -> CentralEvaluator:
    """On no storage: the actor is a fake."""
    return CentralEvaluator(plan, "nowhere", "marker", NullTracker, Progress(0, out or io.StringIO()), bound=bound)


def central_recorder(out: io.StringIO | None = None) -> CentralRecorder:
    """The same of a grid without cells."""
    return CentralRecorder([], "nowhere", "marker", NullTracker, Progress(0, out or io.StringIO()))
