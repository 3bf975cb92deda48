"""A worker: one process with one device and one thread, that performs specs and keeps data and recent nets warm."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import ray
import torch

from uapfp_dist.errors import MismatchError, UserError
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.storage.store import shared_store
from uapfp_dist.tasks.executor import attempt_task
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.outcomes import Outcome
from uapfp_dist.tasks.specs import DataSpec

Perform = Callable[[Spec], None]


def assigned_device() -> torch.device:
    """The GPU that Ray pinned this actor to, else the CPU: a process without a GPU share still sees every GPU."""
    if ray.get_gpu_ids() and torch.cuda.is_available():
        return torch.device("cuda", 0)  # Ray has narrowed CUDA_VISIBLE_DEVICES to the one
    return torch.device("cpu")


def open_context(storage: str, data_root: Path | None, mark: str, data: DataSpec) -> Perform:
    """A place to perform specs, once it is proven that this node sees what the driver sees.

    Args:
        storage: the store's URL.
        data_root: where the images lie on every node.
        mark: what the driver left in its store.
        data: the images, by their digest.

    Raises:
        MismatchError: another storage than the driver's, or not its images.
        UserError: the storage cannot be opened now.
    """
    context = TaskContext(shared_store(storage, mark), data_root, assigned_device())
    try:
        context.data(data)
    except UserError as error:  # the driver has read them whole: they are not there, or others
        raise MismatchError(str(error)) from error
    return partial(perform_task, context)


class Worker:
    """Made an actor where it is used. Results go to the store; only outcomes travel back."""

    def __init__(self, opening: Callable[[], Perform]) -> None:
        torch.set_num_threads(1)
        self._opening = opening
        self._ip = ray.util.get_node_ip_address()
        self.name = f"{self._ip}:{os.getpid()}"

    def place(self) -> tuple[str, str]:
        """(name, node id), as soon as it has a place."""
        return self.name, ray.get_runtime_context().get_node_id()

    def start(self) -> UserError | None:
        """Ready to perform. A user's error is a value, here and below: Ray would wrap it."""
        try:
            self._perform = self._opening()
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
        return type(error)(f"node {self._ip} ({os.uname().nodename}): {error}")
