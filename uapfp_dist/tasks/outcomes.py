"""How a task ended, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from uapfp_dist.tasks.hashing import Spec


@dataclass(frozen=True)
class Done:
    """A spec's artifact is in the store."""

    spec: Spec
    seconds: float
    worker: str
    reused: bool = False


@dataclass(frozen=True)
class Failed:
    """A spec that could not be done, or that needed one that could not."""

    spec: Spec
    error: str
    skipped: bool = False
    """True when it was never tried because something it needs failed."""
    details: str = ""
    """The last lines of the traceback, where there is one."""
    transient: bool = False
    """True where another try may do: storage that did not answer, memory that others held."""
    worker_broken: bool = False
    """True where the worker is of no more use: after an error of CUDA, every later call to the GPU fails there."""


Outcome = Done | Failed
