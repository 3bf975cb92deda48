"""A call in a Python process of its own: what a GPU held for it is free again when it returns."""

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PROGRAM = """
import pickle, sys
call = pickle.load(sys.stdin.buffer)
found = pickle.dumps(call())
with open(sys.argv[1], "wb") as file:
    file.write(found)
"""


def apart(call: Callable[[], T], seconds: float) -> T | None:
    """What `call` returns, in another process; None where it raises, dies or takes longer than `seconds`.

    Unlike one that `multiprocessing` spawns, the process does not run the caller's script again.

    Args:
        call: can be pickled, as can what it returns; found on the import path of this process.
        seconds: at most, with the start of the process.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "found")
        try:
            subprocess.run(
                [sys.executable, "-c", PROGRAM, str(path)],
                input=pickle.dumps(call),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=seconds,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        if not path.is_file():
            return None
        found: T = pickle.loads(path.read_bytes())
        return found
