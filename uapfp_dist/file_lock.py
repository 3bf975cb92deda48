"""Locks of files between processes, which end with the process that holds them.

Windows and some network file systems have no such locks: there nobody waits, and nobody is refused.
"""

from contextlib import suppress
from typing import IO


def try_lock(file: IO[str] | IO[bytes]) -> bool:
    """Lock an open file until it is closed; whether that worked, or no file can be locked here."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (OSError, ImportError):
        return True
    return True


def wait_for_lock(file: IO[str] | IO[bytes]) -> None:
    """Lock an open file until it is closed, once nobody else has it."""
    with suppress(OSError, ImportError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)
