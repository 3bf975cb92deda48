"""A worker: one process with one device and one thread, that performs specs and keeps data and recent nets warm."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import ray
import torch

from uapfp_dist.errors import UserError
from uapfp_dist.pipeline.steps import perform
from uapfp_dist.pipeline.workbench import Workbench
from uapfp_dist.runtime import attempt
from uapfp_dist.specs import DataSpec, Spec
from uapfp_dist.store import Store
from uapfp_dist.types import Outcome

Perform = Callable[[Spec], None]


def own_device() -> torch.device:
    """The GPU that Ray pinned this actor to, else the CPU: a process without a GPU share still sees every GPU."""
    if ray.get_gpu_ids() and torch.cuda.is_available():
        return torch.device("cuda", 0)  # Ray has narrowed CUDA_VISIBLE_DEVICES to the one
    return torch.device("cpu")


def open_bench(storage: str, data_root: Path | None, mark: str, data: DataSpec) -> Perform:
    """A place to perform specs, once it is proven that this node sees what the driver sees.

    Args:
        storage: the store's URL.
        data_root: where the images lie on every node.
        mark: what the driver left in its store.
        data: the images, by their digest.

    Raises:
        UserError: another storage than the driver's, or other images.
    """
    store = Store(storage)
    if not store.sees(mark):
        raise UserError(
            f"storage {storage}: expected the driver's files here, found another place of that name; "
            "mount the same storage on every node or use a URL"
        )
    bench = Workbench(store, data_root, own_device())
    bench.data(data)
    return partial(perform, bench)


class Worker:
    """Made an actor where it is used. Results go to the store; only outcomes travel back."""

    def __init__(self, opening: Callable[[], Perform]) -> None:
        torch.set_num_threads(1)
        self._opening = opening
        self._ip = ray.util.get_node_ip_address()
        self.name = f"{self._ip}:{os.getpid()}"

    def start(self) -> tuple[str, str] | UserError:
        """(name, node id) once it stands. A user's error is a value, here and below: Ray would wrap it."""
        try:
            self._perform = self._opening()
        except UserError as error:
            return self._here(error)
        return self.name, ray.get_runtime_context().get_node_id()

    def perform(self, spec: Spec) -> Outcome | UserError:
        """Do `spec`."""
        try:
            return attempt(spec, self._perform, self.name)
        except UserError as error:
            return self._here(error)

    def _here(self, error: UserError) -> UserError:
        return UserError(f"node {self._ip} ({os.uname().nodename}): {error}")
