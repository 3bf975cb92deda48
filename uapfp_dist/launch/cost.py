"""Say what a run will cost before its first task, and refuse one that costs more than its limit."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from uapfp_dist.config.runtime import RuntimeConfig, gpu_shares
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.cost import RunCost, in_words
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.launch.apart import apart
from uapfp_dist.progress import Progress
from uapfp_dist.storage.store import Store

MEASURING_SECONDS = 120.0
"""Of what it costs on a GPU: a process starts, reads the images and trains each architecture for some steps."""


@dataclass(frozen=True)
class WorkerRoom:
    """What there is room for."""

    workers: int
    """About how many there will be, without GPUs."""
    at_once: Callable[[str], int] | None = None
    """Architecture to how many GPUs have room for; None: there are no GPUs."""
    gpus: int = 0

    @staticmethod
    def here(device: torch.device) -> "WorkerRoom":
        """This process."""
        on_gpu = device.type == "cuda"
        return WorkerRoom(1, (lambda _: 1) if on_gpu else None, int(on_gpu))

    @staticmethod
    def on_ray(machine: Any, runtime: RuntimeConfig) -> "WorkerRoom":
        """A cluster, by its `ClusterResources`, which come with an import of Ray."""
        from uapfp_dist.cluster.capacity import workers_at_once

        at_once = workers_at_once(machine, runtime.workers, runtime.gpus_per_worker, gpu_shares(runtime))
        return WorkerRoom(runtime.workers or max(machine.cpus, 1), at_once, int(machine.gpus))


def say_cost(
    estimate: Callable[..., RunCost],
    context: TaskContext,
    room: WorkerRoom,
    max_hours: float | None,
    progress: Progress,
) -> None:
    """Say what `estimate` finds, in a line.

    Args:
        estimate: of a context, and whether the tasks will be performed on GPUs.
        context: where the cards of models lie, and nets are trained for a few steps.
        room: what will perform the tasks.
        max_hours: the limit; None: none.
        progress: where it is said.

    Raises:
        UserError: it takes longer than `max_hours`.
    """
    cost = measured(estimate, context, room)
    progress.say(cost.summary(room.workers, room.at_once, room.gpus))
    for line in cost.other_code:
        progress.say(line)
    seconds = cost.wall_seconds(room.workers, room.at_once, room.gpus)
    if max_hours is not None and seconds > 3600 * max_hours:
        raise UserError(
            f"max_hours: expected at most {max_hours:g} h, this takes about {in_words(seconds)} ({cost.to_make()}); "
            "raise it, take another preset or fewer models; no model was made, and what is stored stays",
            argument="max_hours",
        )


def measured(estimate: Callable[..., RunCost], context: TaskContext, room: WorkerRoom) -> RunCost:
    """What `estimate` finds; measured on a GPU, if tasks are performed on those and this process sees one.

    That is done in another process: what this one once held of a GPU would be missing there until it ends. Where it
    fails, for the GPU is full or another process has it to itself, the CPU measures.
    """
    torch.set_num_threads(1)  # as workers have
    on_gpus, found = room.at_once is not None, None
    if on_gpus and torch.cuda.is_available():
        found = apart(partial(estimate_there, estimate, context.store.url, context.data_root), MEASURING_SECONDS)
    return found or estimate(context, on_gpus=on_gpus)


def estimate_there(estimate: Callable[..., RunCost], url: str, data_root: Path | None, device: str = "cuda") -> RunCost:
    """What `estimate` finds on `device`, with the store at `url`; it begins another process."""
    torch.set_num_threads(1)
    return estimate(TaskContext(Store(url, is_shared=True), data_root, torch.device(device)), on_gpus=True)
