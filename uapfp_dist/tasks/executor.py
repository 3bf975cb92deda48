"""Perform tasks: the protocol of a pool of workers, and the simplest pool, which is this process."""

import time
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch

from uapfp_dist.errors import PermanentError, UserError
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.outcomes import Done, Failed, Outcome

DETAIL_LINES = 12
"""Of a traceback, in a report."""
TRANSIENT = (OSError, MemoryError, torch.OutOfMemoryError)
"""Errors that may pass: storage that did not answer, memory that others held."""


class Pool(Protocol):
    """Where specs are performed."""

    @property
    def size(self) -> int:
        """Specs that can be in work at once, as things stand."""

    def submit(self, spec: Spec) -> None:
        """Have `spec` done as soon as there is room, in the order of submission."""

    def wait(self, timeout: float) -> list[Outcome]:
        """Outcomes that are there, waiting up to `timeout` seconds for the first."""

    def close(self) -> None:
        """End all work and give back what was held."""


def attempt_task(spec: Spec, perform: Callable[[Spec], None], worker: str) -> Outcome:
    """Perform `spec`; whatever it raises becomes a value, but for a `UserError`, which is no failure of one task."""
    started = time.perf_counter()
    try:
        perform(spec)
    except UserError:
        raise
    except PermanentError as error:
        return Failed(spec, f"{type(error).__name__}: {error}", permanent=True)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        details = "\n".join(traceback.format_exc().splitlines()[-DETAIL_LINES:])
        cause = f"{type(error).__name__}: {error} ({where})"
        transient, broken = isinstance(error, TRANSIENT), _breaks_worker(error)
        return Failed(spec, cause, details=details, transient=transient, worker_broken=broken)
    return Done(spec, time.perf_counter() - started, worker)


def _breaks_worker(error: Exception) -> bool:
    """Errors of CUDA stay with the process; running out of memory is none of them."""
    return isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error)


class SerialPool:
    """This process, one spec at a time."""

    size = 1

    def __init__(self, perform: Callable[[Spec], None]) -> None:
        self._perform = perform
        self._queue: deque[Spec] = deque()

    def submit(self, spec: Spec) -> None:
        """Take `spec`; each `wait` performs one."""
        self._queue.append(spec)

    def wait(self, timeout: float) -> list[Outcome]:
        """Perform the first of what was submitted."""
        return [attempt_task(self._queue.popleft(), self._perform, "serial")] if self._queue else []

    def close(self) -> None:
        """Nothing is held."""
