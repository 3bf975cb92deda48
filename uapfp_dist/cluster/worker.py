"""A worker: one process with one device and one thread, that performs specs and keeps data and recent nets warm."""

import os
from functools import partial
from pathlib import Path

import ray
import torch

from uapfp_dist.errors import UserError
from uapfp_dist.pipeline.steps import perform
from uapfp_dist.pipeline.workbench import Workbench
from uapfp_dist.runtime import attempt
from uapfp_dist.specs import Spec
from uapfp_dist.store import Store
from uapfp_dist.types import Outcome


def own_device() -> torch.device:
    """The GPU that Ray pinned this actor to, else the CPU: a process without a GPU share still sees every GPU."""
    if ray.get_gpu_ids() and torch.cuda.is_available():
        return torch.device("cuda", 0)  # Ray has narrowed CUDA_VISIBLE_DEVICES to the one
    return torch.device("cpu")


class Worker:
    """Made an actor where it is used. Results go to the store; only outcomes travel back."""

    def __init__(self, storage: str, data_root: Path | None) -> None:
        torch.set_num_threads(1)
        self.name = f"{os.uname().nodename}:{os.getpid()}"
        self._bench = Workbench(Store(storage), data_root, own_device())

    def ready(self) -> str:
        """The worker's name, once it stands."""
        return self.name

    def perform(self, spec: Spec) -> Outcome | UserError:
        """Do `spec`. A user's error is handed back as a value, so that Ray does not wrap it in a traceback."""
        try:
            return attempt(spec, partial(perform, self._bench), self.name)
        except UserError as error:
            return error
