"""A worker: one process with one device and one thread that performs specs and caches data and recent nets."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import ray
import torch

from uapfp_dist.cluster.mps import is_running
from uapfp_dist.errors import MismatchError, UserError
from uapfp_dist.execution.context import OWNER_SECONDS, TaskContext
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.storage.store import shared_store
from uapfp_dist.tasks.executor import attempt_task
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.outcomes import Outcome
from uapfp_dist.tasks.specs import DataSpec

Perform = Callable[[Spec], None]

DECLARED = "UAPFP_DECLARED_GPUS"
"""Variable that is set on nodes whose GPUs are only declared to Ray, as in tests: their actors take the CPU."""


def assigned_device() -> torch.device:
    """The GPU that Ray pinned this actor to, else the CPU: a process without a GPU share still sees every GPU.

    Raises:
        MismatchError: the actor holds a GPU that PyTorch cannot use: on the CPU it would be slow, and block the GPU.
    """
    if not ray.get_gpu_ids() or os.environ.get(DECLARED):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        cause = "its driver is missing or broken" if torch.backends.cuda.is_built() else "it is a build for CPUs"
        raise MismatchError(
            f"gpus_per_worker: expected a PyTorch that can use the GPU of this node, it cannot ({cause}); fix that, "
            "or give 0 for CPUs",
            argument="gpus_per_worker",
        )
    return torch.device("cuda", 0)  # Ray has narrowed CUDA_VISIBLE_DEVICES to the one


def open_context(
    storage: str, data_root: Path | None, marker: str, data: DataSpec, owner_seconds: float = OWNER_SECONDS
) -> Perform:
    """What performs specs on this node, once it is proven that the node sees the driver's storage and images.

    Args:
        storage: the store's URL.
        data_root: where the images lie on every node.
        marker: that the driver wrote into its store.
        data: the images, by their digest.
        owner_seconds: after which an owner's training function counts as hung.

    Raises:
        MismatchError: another storage than the driver's, not its images, or a GPU that cannot be used.
        UserError: the storage cannot be opened now.
    """
    context = TaskContext(shared_store(storage, marker), data_root, assigned_device(), owner_seconds=owner_seconds)
    try:
        context.data(data)
    except UserError as error:  # the driver has read them: here they are missing, or others
        raise MismatchError(str(error), argument=error.argument) from error
    return partial(perform_task, context)


class Worker:
    """The class of the worker actors. Results go to the store; only outcomes travel back.

    Args:
        make_perform: makes what performs specs; raises `UserError` where it cannot.
    """

    def __init__(self, make_perform: Callable[[], Perform]) -> None:
        torch.set_num_threads(1)
        self._make_perform = make_perform
        self._ip = ray.util.get_node_ip_address()
        self.name = f"{self._ip}:{os.getpid()}"

    def place(self) -> tuple[str, str, bool]:
        """(name, node id, whether it has the node's GPU in turn with others: no MPS), as soon as it is placed."""
        in_turn = bool(ray.get_gpu_ids()) and not is_running()
        return self.name, ray.get_runtime_context().get_node_id(), in_turn

    def start(self) -> UserError | None:
        """Get ready to perform. A user's error is a value, here and below: Ray would wrap it."""
        try:
            self._perform = self._make_perform()
        except UserError as error:
            return self._here(error)
        return None

    def perform(self, spec: Spec) -> Outcome | UserError:
        """Do `spec`."""
        try:
            return attempt_task(spec, self._perform, self.name)
        except UserError as error:
            return self._here(error)

    def _here(self, error: UserError) -> UserError:
        return type(error)(f"node {self._ip} ({os.uname().nodename}): {error}", argument=error.argument)
