"""Pools of workers: the protocol, with the simplest of them, which is this process."""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from uapfp_dist.tasks.executor import attempt_task
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.outcomes import Outcome


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
