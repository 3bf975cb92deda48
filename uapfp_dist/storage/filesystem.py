"""Files under a path or fsspec URL: listed, read through outages, written atomically.

On a disk a file is renamed into place; an object store publishes a PUT atomically by itself.
"""

import errno
import os
import re
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import fsspec

from uapfp_dist.errors import UserError

OPENING_SECONDS = 10.0
"""How long a remote storage that does not answer is tried when it is opened: its address may be wrong."""
SHARED_SECONDS = 120.0
"""The same where another process of the job has just opened it: an outage passes. But this node may lack the network or
the credentials."""
PATIENCE_SECONDS = 600.0
"""The same once it has answered: better to wait for the end of an outage than to lose a finished training."""
PAUSES = (0.5, 20.0)
"""Seconds before the second try, and at most; doubled in between. The driver has had tries of its own by then."""
FINAL_ERRORS = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
"""A storage's answers that another try would not change."""
REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)
"""Errors of a disk that cannot be written: every worker would meet the same."""
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss"}
"""They need no folders. Asked to make one, drivers look for the bucket, and create it if its name is misspelt."""
VERSION_KEYS = ("size", "ino", "mtime", "ETag", "etag", "md5Hash", "updated", "LastModified", "created")
"""Of a listing's entry: what tells one version of a file from the next."""
TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp$")
LEFTOVER_SECONDS = 3600.0
"""Age at which a half-written file has no writer any more."""

T = TypeVar("T")


class Filesystem:
    """The files of one storage.

    Args:
        url: a local path or any fsspec URL.
        is_shared: another process of the job has opened it.

    Raises:
        UserError: an unknown kind of URL, or its driver is not installed.
    """

    def __init__(self, url: str, is_shared: bool) -> None:
        self.url = url
        self._opening_seconds = SHARED_SECONDS if is_shared else OPENING_SECONDS
        try:
            self._fs, self.root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise UserError(
                f"storage {url}: expected a path or an fsspec URL ({error}); choose another", argument="storage"
            ) from error
        self.confirmed = False
        """Whether it has answered before; then a remote storage that does not answer is tried for longer."""
        self._local = isinstance(self._fs, fsspec.implementations.local.LocalFileSystem)
        self._fs.invalidate_cache()
        self._fs.dircache.use_listings_cache = False  # it would hide what other hosts write
        protocols = {self._fs.protocol} if isinstance(self._fs.protocol, str) else set(self._fs.protocol)
        self._has_folders = not protocols & OBJECT_STORES
        self._read_options = {"max_concurrency": 1} if "s3" in protocols else {}  # or it asks for the size first
        self._made_folders: set[str] = set()

    def exists(self, path: str) -> bool:
        """Whether there is a file at `path`."""
        return bool(self._retry(lambda: self._fs.exists(path)))

    def list(self, folder: str) -> dict[str, tuple[str, ...]]:
        """The files of a folder, each with what tells its version; empty where there is no such folder."""
        try:
            entries = self._retry(lambda: self._fs.ls(folder, detail=True))
        except FileNotFoundError:
            return {}
        return {str(entry["name"]): tuple(str(entry.get(key)) for key in VERSION_KEYS) for entry in entries}

    def read(self, path: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: there is none.
            OSError: no answer.
        """
        raw: bytes = self._retry(lambda: self._fs.cat_file(path, **self._read_options))
        return raw

    def read_start(self, path: str, n_bytes: int) -> bytes:
        """The first bytes of a file, as many as it has up to `n_bytes`.

        Raises:
            FileNotFoundError: there is none.
            OSError: no answer.
        """
        raw: bytes = self._retry(lambda: self._fs.cat_file(path, start=0, end=n_bytes))
        return raw

    @contextmanager
    def on_disk(self, path: str, data: bytes) -> Iterator[str]:
        """A path on a disk of a file that was read as `data`: its own, or that of a copy, which is removed."""
        if self._local:
            yield path
            return
        with tempfile.NamedTemporaryFile(prefix="uapfp-") as copy:
            copy.write(data)
            copy.flush()
            yield copy.name

    def remove(self, path: str) -> None:
        """Remove a file if it is there."""
        with suppress(FileNotFoundError):
            self._retry(lambda: self._fs.rm_file(path))

    def write(self, path: str, data: bytes, *, unless_there: bool = False) -> None:
        """Write a file atomically: readers see all of it or nothing. Its folder is made.

        Args:
            path: of the file.
            data: its content.
            unless_there: keep a file that is there; an object store leaves a moment between looking and writing.

        Raises:
            UserError: the storage cannot be written, or is full.
            OSError: no answer.
        """
        try:
            self._make_folder(path.rsplit("/", 1)[0])
            if self._local:
                _write_to_disk(path, data, _link if unless_there else os.replace)
            elif not (unless_there and self.exists(path)):
                self._retry(lambda: self._fs.pipe_file(path, data))
        except OSError as error:
            if error.errno not in REFUSALS and not isinstance(error, PermissionError):
                raise
            raise UserError(
                f"storage {self.url}: expected a folder that can be written ({error.strerror or error}: {path}); "
                "choose another",
                argument="storage",
            ) from error

    def _make_folder(self, folder: str) -> None:
        if self._local or (self._has_folders and folder not in self._made_folders):
            self._retry(lambda: self._fs.makedirs(folder, exist_ok=True))
            self._made_folders.add(folder)

    def remove_leftovers(self) -> int:
        """Remove what killed writers left half-written on a disk; returns how many files."""
        if not self._local:  # an object store shows nothing of an upload that was not finished
            return 0
        root, before = Path(self.root), time.time() - LEFTOVER_SECONDS
        ours = (path for pattern in ("*.tmp", "*/*.tmp") for path in root.glob(pattern) if TEMPORARY.search(path.name))
        removed = 0
        for path in ours:
            with suppress(OSError):  # its writer has renamed it meanwhile, or it is somebody else's
                if path.stat().st_mtime < before:
                    path.unlink()
                    removed += 1
        return removed

    def _retry(self, call: Callable[[], T]) -> T:
        """`call`, tried again for a while where a remote storage does not answer.

        Raises:
            OSError: no answer, whatever the driver calls that.
        """
        patience = PATIENCE_SECONDS if self.confirmed else self._opening_seconds
        until = time.monotonic() + (0.0 if self._local else patience)
        pause, longest = PAUSES
        while True:
            try:
                return call()
            except (*FINAL_ERRORS, ImportError, TypeError, ValueError):
                raise
            except Exception as error:  # drivers let their libraries' own errors through
                if time.monotonic() + pause > until:
                    if isinstance(error, OSError):
                        raise
                    raise ConnectionError(f"{type(error).__name__}: {error}") from error
            time.sleep(pause)
            pause = min(2 * pause, longest)


def _link(temporary: str, path: str) -> None:
    """Give a file a second name, unless one of that name is there."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without second names
        if not os.path.exists(path):
            os.replace(temporary, path)


def _write_to_disk(path: str, data: bytes, place: Callable[[str, str], None]) -> None:
    temporary = f"{path}.{uuid.uuid4().hex}.tmp"
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        place(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
