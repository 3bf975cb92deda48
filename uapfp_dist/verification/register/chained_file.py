"""A chained file to which several processes append: locked, written through to the disk, torn ends kept apart."""

import contextlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from uapfp_dist.errors import UserError
from uapfp_dist.file_lock import try_lock
from uapfp_dist.verification.querying.record_chain import chain_line, read_chain, record_of

LOCK_SECONDS = 30.0
"""For which a process waits for another one that has the register."""
PAUSE_SECONDS = 0.02
MOST_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Chain:
    """What a file holds."""

    bodies: tuple[bytes, ...]
    """The records."""
    digests: tuple[str, ...]
    """Of each of them with all before it."""
    torn: bytes = b""
    """What is left of a line that was broken off at the end."""
    unended: bool = False
    """The last record is whole, only the end of its line is missing."""

    @property
    def head(self) -> str:
        """The last digest."""
        return self.digests[-1] if self.digests else ""


def parse(data: bytes, path: Path) -> Chain:
    """The chain in the bytes of a file.

    Raises:
        UserError: a line that is not what was written there, with more after it.
    """
    bodies, n_bytes, last = read_chain(data, path, "register")
    torn = data[n_bytes:]
    # An editor takes the last end of line away: what is whole otherwise is no torn line.
    body = record_of(torn + b"\n")
    unended = bool(torn) and chain_line(last, body)[0] == torn + b"\n"
    if unended:
        bodies, torn = [*bodies, body], b""
    digests, last = [], ""
    for each in bodies:
        last = chain_line(last, each)[1]
        digests.append(last)
    return Chain(tuple(bodies), tuple(digests), torn, unended)


@contextmanager
def locked_file(path: Path, *, write: bool = False, create: bool = False) -> Iterator[BinaryIO]:
    """The file for this process alone; others wait.

    Where a file system has no locks (some of networks), two processes that append at once break the chain, and the next
    reader says so.

    Args:
        path: of a regular file.
        write: it may be appended to.
        create: make an empty one where there is none.

    Raises:
        UserError: it is not there, no regular file, cannot be opened, or another process keeps it.
    """
    flags = (os.O_RDWR | os.O_APPEND if write else os.O_RDONLY) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_BINARY", 0) | (os.O_CREAT if create else 0)
    try:
        handle = os.open(path, flags, 0o666)
    except FileNotFoundError as error:
        raise UserError(
            f"register {path}: expected the register of the kit, there is none; restore it from a copy: without it "
            "nobody can say which suspects were tested before"
        ) from error
    except OSError as error:
        able = "written" if write else "read"
        raise UserError(f"register {path}: expected a file that can be {able} ({error.strerror}); fix that") from error
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
        os.close(handle)
        raise UserError(f"register {path}: expected a file of at most {MOST_BYTES >> 20} MiB, got something else")
    with os.fdopen(handle, "r+b" if write else "rb", buffering=0) as file:
        until = time.monotonic() + LOCK_SECONDS
        while not try_lock(file):
            if time.monotonic() > until:
                raise UserError(f"register {path}: another process keeps it; wait for that one to end")
            time.sleep(PAUSE_SECONDS)
        yield file  # type: ignore[misc]  # unbuffered, so what fails is not written later


def read_all(file: BinaryIO, path: Path) -> Chain:
    """The chain in an open file."""
    file.seek(0)
    return parse(file.read(), path)


def append(file: BinaryIO, path: Path, chain: Chain, bodies: Sequence[bytes]) -> Chain:
    """Append records in place of a torn end; they are on the disk when this returns, or none of them is.

    Raises:
        UserError: the disk is full, or fails otherwise.
    """
    size = os.fstat(file.fileno()).st_size - len(chain.torn)
    data, head, digests = b"\n" if chain.unended else b"", chain.head, list(chain.digests)
    for body in bodies:
        line, head = chain_line(head, body)
        data += line
        digests.append(head)
    try:
        file.truncate(size)
        if (written := file.write(data)) != len(data):
            raise OSError(None, f"{written} of {len(data)} bytes written")
        os.fsync(file.fileno())
        if not chain.bodies:
            _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            file.truncate(size)
        raise UserError(
            f"register {path}: expected to write {len(data)} bytes ({error.strerror}); make room and run it again"
        ) from error
    return Chain((*chain.bodies, *bodies), tuple(digests))


def _sync_folder(folder: Path) -> None:
    """A new file has its name on the disk, where folders can be synced."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
