"""The evaluator as a central actor."""

from collections.abc import Callable
from functools import partial

import ray

from uapfp_dist.central.evaluator import Evaluator
from uapfp_dist.cluster.central_actor import CentralActor, typed
from uapfp_dist.cluster.worker import assigned_device
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.progress import Progress, WorkSummary
from uapfp_dist.reporting.report import Report
from uapfp_dist.storage.store import shared_store
from uapfp_dist.tracking.tracker import Tracker


class CentralEvaluator(CentralActor):
    """The methods of `Evaluator`, run by an actor; all that it knows is in the store, or sent again to a new one.

    Args:
        plan: what is evaluated.
        storage: the store's URL.
        marker: that the driver wrote there.
        tracker: makes the tracker, inside the actor.
        progress: shows the resamples that are done.
        gpus: that train the encoders, if the cluster has any once the models are made; the same function as on CPUs.
        bound: why it may not leave the driver's node, in words; empty: it may.
    """

    def __init__(
        self,
        plan: Plan,
        storage: str,
        marker: str,
        tracker: Callable[[], Tracker],
        progress: Progress,
        gpus: float = 1.0,
        bound: str = "",
    ) -> None:
        self._gpus, self._bound = gpus, bound
        super().__init__("evaluator", partial(make_evaluator, plan, storage, marker, tracker), progress, "judge")

    observe = typed(Evaluator.observe, CentralActor.send)
    page = typed(Evaluator.page, CentralActor.call)
    note = typed(Evaluator.note, CentralActor.notify)

    def judge(self, work: WorkSummary) -> Report:
        """As `Evaluator.judge`, on a GPU where there is one: until now the workers had them."""
        if self._gpus and ray.cluster_resources().get("GPU", 0.0) >= self._gpus:
            self.move_to_gpu(self._gpus, self._bound)
        report: Report = self.call("judge", work)
        return report


def make_evaluator(plan: Plan, storage: str, marker: str, tracker: Callable[[], Tracker]) -> Evaluator:
    """An evaluator on the driver's storage, which trains encoders on the GPU that its actor holds, else on the CPU.

    Raises:
        UserError: as `shared_store` and `assigned_device`.
    """
    return Evaluator(plan, shared_store(storage, marker), tracker(), device=assigned_device())
