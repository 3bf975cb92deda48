"""The folder in which Ray keeps its sockets, checked before Ray starts."""

import os
import sys
import tempfile
from pathlib import Path

from uapfp_dist.errors import UserError

MAX_SOCKET_BYTES = 103 if sys.platform == "darwin" else 107
"""Of the path of a socket."""
SESSION = "session_2000-01-01_00-00-00_000000_"
"""Then the id of the process."""
PROBE = bytes(65536)


def check_temp_folder() -> None:
    """Refuse a folder in which Ray could not start.

    Raises:
        UserError: its path is too long, or it cannot be written.
    """
    variable, folder = _variable_and_folder()
    length = len(os.fsencode(folder))
    socket = os.path.join(folder, "ray", f"{SESSION}{os.getpid()}", "sockets", "plasma_store")
    if (room := MAX_SOCKET_BYTES - len(os.fsencode(socket)) + length) < length:
        raise UserError(
            f"{variable}: expected a path of at most {room} bytes, since that of a socket below it may have "
            f"{MAX_SOCKET_BYTES}, got {length}: {folder}; set RAY_TMPDIR to a shorter one, such as /tmp"
        )
    try:
        Path(folder, "ray").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=Path(folder, "ray"), buffering=0) as file:
            file.write(PROBE)
    except OSError as error:
        raise UserError(
            f"{variable}: expected a folder for Ray's files that can be written and has room, got {folder} "
            f"({error.strerror or error}); set RAY_TMPDIR to another"
        ) from error


def _variable_and_folder() -> tuple[str, str]:
    """What decides the folder, as Ray reads it, and the folder."""
    names = ("RAY_TMPDIR", "TMPDIR") if sys.platform.startswith("linux") else ("RAY_TMPDIR",)
    found = next((name for name in names if name in os.environ), None)
    return found or "RAY_TMPDIR", os.environ[found] if found else "/tmp"
