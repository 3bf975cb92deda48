"""What the pipeline wants of its surroundings, and the simplest that will do: one process, nobody watching."""

import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from uapfp_dist.errors import UserError
from uapfp_dist.specs import Spec
from uapfp_dist.types import Done, Failed, Outcome

Item = TypeVar("Item")
Found = TypeVar("Found")

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


class Tracker(Protocol):
    """Where results are shown. One writer at a time.

    Every method is idempotent: told the same twice, it shows it once. It raises ConnectionError where the tracker is
    away, and UserError where it refuses.
    """

    def find(self, evaluation: str, publication: str) -> str | None:
        """The finished run of an evaluation that shows just this publication."""

    def begin(self, evaluation: str, params: dict[str, Any], tags: dict[str, str]) -> None:
        """Open the run of an evaluation."""

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        """Numbers of the run."""

    def card(self, card: dict[str, Any]) -> None:
        """A model that was trained."""

    def suspect(self, name: str, tags: dict[str, str], metrics: dict[str, float]) -> None:
        """A judged model, as a nested run."""

    def folder(self, path: Path) -> None:
        """Files to keep with the run."""

    def end(self, status: str) -> str:
        """Close the run as FINISHED, FAILED or KILLED; returns where it can be seen."""


class NullTracker:
    """Shows nothing."""

    def find(self, evaluation: str, publication: str) -> str | None:
        """No run, ever."""
        return None

    def begin(self, evaluation: str, params: dict[str, Any], tags: dict[str, str]) -> None:
        """Nothing."""

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        """Nothing."""

    def card(self, card: dict[str, Any]) -> None:
        """Nothing."""

    def suspect(self, name: str, tags: dict[str, str], metrics: dict[str, float]) -> None:
        """Nothing."""

    def folder(self, path: Path) -> None:
        """Nothing."""

    def end(self, status: str) -> str:
        """Nowhere."""
        return ""


def attempt(spec: Spec, perform: Callable[[Spec], None], worker: str) -> Outcome:
    """Perform `spec`; whatever it raises becomes a value. A user's error is not a model's failure: it goes on up."""
    started = time.perf_counter()
    try:
        perform(spec)
    except UserError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        details = "\n".join(traceback.format_exc().splitlines()[-DETAIL_LINES:])
        cause = f"{type(error).__name__}: {error} ({where})"
        transient, broken = isinstance(error, TRANSIENT), _breaks_the_worker(error)
        return Failed(spec, cause, details=details, transient=transient, broken=broken)
    return Done(spec, time.perf_counter() - started, worker)


def _breaks_the_worker(error: Exception) -> bool:
    """CUDA's errors stay with the process; running out of memory is none of them."""
    return isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error)


def in_threads(work: Callable[[Item], Found], items: Iterable[Item], threads: int) -> list[Found]:
    """`work` of every item, several at a time, in their order. An interruption waits for none that is at work."""
    pool = ThreadPoolExecutor(max_workers=threads)
    try:
        return list(pool.map(work, items))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


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
        return [attempt(self._queue.popleft(), self._perform, "serial")] if self._queue else []

    def close(self) -> None:
        """Nothing is held."""
