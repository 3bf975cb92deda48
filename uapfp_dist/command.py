"""Run a job as a command: exit codes, and errors in one line."""

import errno
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from uapfp_dist.concurrency import is_foreign_code_running
from uapfp_dist.errors import UserError
from uapfp_dist.messages import printable

VARIABLES = {"storage": "UAPFP_STORAGE", "data_root": "UAPFP_DATA"}
"""Argument to the environment variable that is its default. The errors of others name theirs."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of a disk that takes nothing more."""


def main(job: Callable[[], object], name: str = "", arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a job as a command: one line and exit code 2 for bad input, 130 after Ctrl-C, 1 for an internal error.

    Args:
        job: what to do.
        name: of the command, before its errors; empty: that of the script.
        arguments: of the command line, which errors speak of; None: those of this process.
    """
    warnings.filterwarnings("ignore", category=FutureWarning)
    signal.signal(signal.SIGTERM, _as_interrupt)
    name, arguments = name or Path(sys.argv[0]).stem, sys.argv[1:] if arguments is None else arguments
    try:
        job()
        sys.stdout.flush()  # a pipe that is closed says so here, and not when Python ends
    except UserError as error:
        # It may quote a suspect, or a file that came from elsewhere.
        _refuse(name, f"{printable(_as_typed(error))}{_option(error, arguments)}")
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        if error.errno not in FULL and "No usable temporary directory" not in str(error):
            raise
        folder = os.environ.get("TMPDIR", "not set")
        _refuse(
            name,
            f"expected a disk that can be written and has room ({printable(str(error))}); make room, or name another "
            f"folder for temporary files in TMPDIR (now {folder})",
        )
    except KeyboardInterrupt:
        print(f"{_new_line()}interrupted; the same command resumes where this one stopped", file=sys.stderr, flush=True)
        others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
        if is_foreign_code_running() or any(not thread.daemon for thread in others):
            sys.stdout.flush()
            os._exit(130)  # fits of encoders are under way: Python would wait for them
        raise SystemExit(130) from None
    raise SystemExit(0)


def _refuse(name: str, line: str) -> NoReturn:
    print(f"{_new_line()}{name}: error: {line}", file=sys.stderr, flush=True)
    if is_foreign_code_running():
        sys.stdout.flush()
        os._exit(2)
    raise SystemExit(2) from None


def _new_line() -> str:
    """A terminal may show a bar, and the cursor stands behind it."""
    return "\r\x1b[K" if sys.stderr.isatty() else ""


def _as_typed(error: UserError) -> str:
    """What an error says, with the arguments that it names as options of a command line."""
    said = str(error)
    for words in error.options:
        argument, space, value = words.partition(" ")
        typed = f"{_flag(argument)}{space}{value}"
        said = re.sub(rf"(?<![\w.-]){re.escape(words)}(?![\w-])", typed, said)
    return said


def _flag(argument: str) -> str:
    return f"--{argument.replace('_', '-')}"


def _option(error: UserError, arguments: Sequence[str]) -> str:
    """The option of the command line behind the argument that an error names, or the variable that stood in for it."""
    if not error.argument:
        return ""
    option = _flag(error.argument)
    variable = VARIABLES.get(error.argument, "")
    given = any(word.partition("=")[0].replace("_", "-") == option for word in arguments)
    if os.environ.get(variable) and not given:
        return f" ({variable}={os.environ[variable]} is set: change or unset it, or use the option {option})"
    return f" (option {option})"


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
