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
    """A spec that could not be done, or that needs one that could not."""

    spec: Spec
    error: str
    skipped: bool = False
    """It was never tried, because something it needs failed."""
    details: str = ""
    """The last lines of the traceback; empty where there is none, and for a permanent failure."""
    transient: bool = False
    """Another try may succeed soon: the storage did not answer, or others held the memory."""
    gpu_full: bool = False
    """A GPU ran out of memory, which others may have held: another try is made alone on one."""
    permanent: bool = False
    """Every other try would end the same way, also in another run."""
    worker_broken: bool = False
    """The worker cannot be used again: after an error of CUDA, every later call to the GPU fails in that process."""


Outcome = Done | Failed
