"""Parts of the GPU benchmark that go wrong."""

import os
import time
from pathlib import Path

from uapfp_dist.benchmarks.gpu.notes import Notes
from uapfp_dist.benchmarks.gpu.settings import Settings


def planned(settings: Settings) -> list[str]:
    """Names of all measurements."""
    return ["quick", "endless", "after it"]


def measure(settings: Settings, notes: Notes) -> None:
    """One measurement, then one that hangs; in a rehearsal the process dies instead."""
    notes.take("quick", lambda: 1)
    if settings.tiny:
        os._exit(7)
    try:
        notes.take("endless", lambda: time.sleep(1000))
    finally:
        (Path(settings.out) / "tidied").touch()
