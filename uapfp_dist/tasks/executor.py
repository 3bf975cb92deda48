"""Perform one task; what it raises becomes a value."""

import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from uapfp_dist.errors import PermanentError, UserError
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.outcomes import Done, Failed, Outcome

DETAIL_LINES = 12
"""Of a traceback, in a report."""
TRANSIENT = (OSError, MemoryError, torch.OutOfMemoryError)
"""Errors that may pass: storage that did not answer, memory that others held."""


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
