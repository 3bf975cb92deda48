"""Make what the store lacks, on the workers of a command that saves no kit and no report."""

from collections.abc import Sequence
from functools import partial

import torch

from uapfp_dist.config.runtime import ResolvedPaths, RuntimeConfig
from uapfp_dist.data import Dataset
from uapfp_dist.evaluation.cost import cost_of
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.stored import stored_specs
from uapfp_dist.launch.cost import say_cost
from uapfp_dist.launch.enrollment import workers
from uapfp_dist.progress import Progress
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.scheduler import run_tasks
from uapfp_dist.tasks.specs import DataSpec, ModelSpec


def make_specs(
    specs: Sequence[Spec],
    runtime: RuntimeConfig,
    paths: ResolvedPaths,
    data: DataSpec,
    dataset: Dataset,
    siblings: Sequence[ModelSpec] = (),
) -> TaskContext:
    """Perform `specs`, each after what it needs; what cannot be made is reported, and missing. Says the cost first.

    Args:
        siblings: those of the victim's recipe among them, for the estimate.
    """
    store, progress = Store(paths.storage), Progress(workers=1)
    context = TaskContext(store, paths.data_root, torch.device("cpu"), dataset)
    with workers(runtime, paths, store, data, progress) as made_by:
        pool = made_by.pool
        say_cost(partial(cost_of, specs, siblings), context, made_by.room, runtime.max_hours, progress)
        progress.expect(specs)
        progress.watch(pool)
        for outcome in run_tasks(specs, pool, stored_specs(store, specs), progress.refresh):
            progress.observe(outcome)
        pool.close()
    return context
