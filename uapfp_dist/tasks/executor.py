"""Perform one task; what it raises becomes a value."""

import re
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from uapfp_dist.errors import PermanentError, UserError
from uapfp_dist.messages import one_line
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.outcomes import Done, Failed, Outcome

DETAIL_LINES = 12
"""Of a traceback, in a report."""
TRANSIENT = (OSError, MemoryError)
"""Errors that may pass: storage that did not answer, memory that others held."""


def attempt_task(spec: Spec, perform: Callable[[Spec], None], worker: str) -> Outcome:
    """Perform `spec`; whatever it raises becomes a value, but for a `UserError`, which is no failure of one task."""
    started = time.perf_counter()
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    try:
        perform(spec)
    except UserError:
        raise
    except torch.OutOfMemoryError as error:
        full = Failed(spec, f"the GPU ran out of memory: {_need(error)}", transient=True, gpu_full=True)
    except PermanentError as error:
        return Failed(spec, f"{type(error).__name__}: {error}", permanent=True)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        details = "\n".join(traceback.format_exc().splitlines()[-DETAIL_LINES:])
        cause = f"{type(error).__name__}: {error} ({where})"
        transient, broken = isinstance(error, TRANSIENT), _breaks_worker(error)
        return Failed(spec, cause, details=details, transient=transient, worker_broken=broken)
    else:
        return Done(spec, time.perf_counter() - started, worker)
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()  # now that the traceback holds nothing, others may have it
    return full


def _need(error: Exception) -> str:
    """What the work held at most, and what it wanted beside that."""
    wanted = re.search(r"Tried to allocate ([\d.]+ \w+)", str(error))
    more = f"{wanted[1]} more" if wanted else one_line(error)
    if not torch.cuda.is_initialized():
        return f"it wanted {more}"
    held, whole = torch.cuda.max_memory_allocated() / 2**30, torch.cuda.get_device_properties(0).total_memory / 2**30
    return f"it held {held:.2f} GiB and wanted {more}, of {whole:.1f} GiB on {torch.cuda.get_device_name()}"


def _breaks_worker(error: Exception) -> bool:
    """Errors of CUDA stay with the process; running out of memory is none of them."""
    return isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error)
