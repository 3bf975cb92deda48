"""Run a job as a command: exit codes, and errors in one line."""

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from uapfp_dist.errors import UserError
from uapfp_dist.messages import printable


def main(job: Callable[[], object]) -> NoReturn:
    """Run a job as a command: one line and exit code 2 for bad input, 130 after Ctrl-C, 1 for an internal error."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        job()
    except UserError as error:
        # It may quote a suspect, or a file that came from elsewhere.
        print(f"{Path(sys.argv[0]).stem}: error: {printable(str(error))}{_option(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted; the same command resumes where this one stopped", file=sys.stderr, flush=True)
        if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
            sys.stdout.flush()
            os._exit(130)  # fits of encoders are under way: Python would wait for them
        raise SystemExit(130) from None
    raise SystemExit(0)


def _option(error: UserError) -> str:
    """The option of the command line behind the argument that an error names."""
    return f" (option --{error.argument.replace('_', '-')})" if error.argument else ""


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
