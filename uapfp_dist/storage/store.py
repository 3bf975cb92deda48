"""Content-addressed artifacts under a path or fsspec URL: one file each, published whole, verified when read.

A file is safetensors with a JSON header: no pickle, nothing in it can run. On a disk it is renamed into place; an
object store publishes a PUT whole by itself.
"""

import errno
import hashlib
import json
import os
import re
import secrets
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import fsspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from uapfp_dist.errors import MismatchError, UserError

FORMAT = 1
READERS = 8
"""Artifacts that are verified at a time; each is in memory while it is."""
OPENING_SECONDS = 10.0
"""How long a remote storage that does not answer is asked again when it is opened: its address may be wrong."""
PATIENCE_SECONDS = 600.0
"""The same once it has been seen: an outage is waited for rather than a finished training thrown away."""
PAUSES = (0.5, 20.0)
"""Seconds before the second try, and at most; doubled in between. The driver has had tries of its own by then."""
NO = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
"""A storage's answers that another try would not change."""
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)
"""What a disk says that takes no more: another worker would hear the same."""
FOLDERLESS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss"}
"""Object stores: folders need not be made. Asked to, drivers look for the bucket and make one if it is misspelt."""
SIGHT_SECONDS = 5.0
"""A network disk may show a new file late."""
TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp$")
LEFTOVER_SECONDS = 3600.0
"""Age at which a half-written file has no writer any more."""
MARK_DAYS = 30
"""Age at which no job waits for a mark any more."""

T = TypeVar("T")


class TornArtifactError(RuntimeError):
    """A file under an artifact's name is not what was written there."""


@dataclass(frozen=True)
class Artifact:
    """Tensors and a JSON value."""

    tensors: dict[str, Tensor]
    info: dict[str, Any]


class Store:
    """Artifacts by (kind, id).

    Args:
        url: a local path or any fsspec URL. The folder is made (a bucket is not); a file there names the format.

    Raises:
        UserError: not writable, or written by another version.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self._fs, self.root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:  # an unknown kind of URL, or its driver is not installed
            raise UserError(f"storage {url}: expected a path or an fsspec URL ({error}); choose --storage") from error
        self._local = isinstance(self._fs, fsspec.implementations.local.LocalFileSystem)
        self._fs.invalidate_cache()
        self._fs.dircache.use_listings_cache = False  # it would hide what other hosts write
        protocols = {self._fs.protocol} if isinstance(self._fs.protocol, str) else set(self._fs.protocol)
        self._folderless = bool(protocols & FOLDERLESS)
        self._how_to_read = {"max_concurrency": 1} if "s3" in protocols else {}  # or it asks for the size first
        self._made: set[str] = set()
        self._verified: dict[str, tuple[str, ...]] = {}
        self._patience = OPENING_SECONDS
        try:
            found = self._format()
        except Exception as error:  # drivers raise their libraries' own, such as NoCredentialsError
            cause = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"storage {url}: expected a folder that can be written ({cause}); choose --storage"
            ) from error
        if found != FORMAT:
            raise UserError(
                f"storage {url}: expected artifacts of format {FORMAT}, found format {found}; choose another --storage"
            )
        self._patience = PATIENCE_SECONDS

    def _format(self) -> Any:
        marker = f"{self.root}/store.json"
        try:
            return json.loads(self._read(marker)).get("format")
        except FileNotFoundError:
            self._publish(marker, json.dumps({"format": FORMAT}).encode())
            return FORMAT

    def path(self, kind: str, key: str) -> str:
        """Where the artifact lies."""
        return f"{self.root}/{kind}/{key}.safetensors"

    def has(self, kind: str, key: str) -> bool:
        """True if a file of that name was published (its content is checked when it is read)."""
        return bool(self._retry(lambda: self._fs.exists(self.path(kind, key))))

    def put(self, kind: str, key: str, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
        """Publish an artifact atomically; writing the same one twice is harmless."""
        # safetensors refuses tensors that share memory
        body = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        text = json.dumps(dict(info), sort_keys=True)
        metadata = {
            "format": str(FORMAT),
            "kind": kind,
            "id": key,
            "info": text,
            "sha256": _digest(body, text),
        }
        # safetensors wants at least one tensor
        self._publish(self.path(kind, key), save_tensors(body or {"_": torch.zeros(1)}, metadata))

    def get(self, kind: str, key: str) -> Artifact:
        """Read and verify.

        Raises:
            TornArtifactError: truncated, flipped or foreign bytes; the file has been removed, so it will be rebuilt.
            FileNotFoundError: there is none.
        """
        path = self.path(kind, key)
        for _ in range(2):  # a transfer may be torn where the file is whole: look twice before it is removed
            artifact = _decode(self._read(path), key)
            if artifact is not None:
                return artifact
        self.discard(kind, key)
        raise TornArtifactError(f"artifact {path} was torn and has been removed; run again to rebuild it")

    def intact(self, kind: str, key: str) -> bool:
        """True if the artifact is there and whole; a torn one is removed. One request."""
        try:
            self.get(kind, key)
        except (TornArtifactError, FileNotFoundError):
            return False
        return True

    def intact_among(self, wanted: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of `wanted`, as (kind, id), that are there and whole; torn ones are removed.

        One request for every thousand files of a kind, and one for each artifact that is there, several at a time;
        what this object has found whole before is not read again unless its file has changed.
        """
        pairs = sorted(set(wanted))
        listed: dict[str, tuple[str, ...]] = {}
        for kind in {kind for kind, _ in pairs}:
            listed |= self._list(f"{self.root}/{kind}")
        there = [pair for pair in pairs if self.path(*pair) in listed]
        fresh = [pair for pair in there if self._verified.get(self.path(*pair)) != listed[self.path(*pair)]]
        with ThreadPoolExecutor(READERS) as threads:
            found = dict(zip(fresh, threads.map(lambda pair: self.intact(*pair), fresh), strict=True))
        self._verified |= {self.path(*pair): listed[self.path(*pair)] for pair in fresh if found[pair]}
        return {pair for pair in there if found.get(pair, True)}

    def _list(self, folder: str) -> dict[str, tuple[str, ...]]:
        """Files of a folder, with what tells one version from the next; nothing where there is no folder."""
        try:
            entries = self._retry(lambda: self._fs.ls(folder, detail=True))
        except FileNotFoundError:
            return {}
        keys = ("size", "ino", "mtime", "ETag", "etag", "md5Hash", "updated", "LastModified", "created")
        return {str(e["name"]): tuple(str(e.get(key)) for key in keys) for e in entries}

    def discard(self, kind: str, key: str) -> None:
        """Remove an artifact if it is there."""
        self._remove(self.path(kind, key))

    def write_marker(self) -> str:
        """Write something that only those who see this very storage can know; returns its name, for `sees`."""
        today = int(time.time() // 86400)
        for path in self._list(f"{self.root}/marks"):
            day = path.rsplit("/", 1)[-1].split("-")[0]
            if day.isdigit() and int(day) < today - MARK_DAYS:
                self._remove(path)
        mark = f"{today}-{secrets.token_hex(16)}"
        self._publish(self._mark(mark), mark.encode())
        return mark

    def has_marker(self, mark: str) -> bool:
        """Whether this is the storage in which `mark` was left, as far as this host sees it."""
        until = time.monotonic() + SIGHT_SECONDS
        while True:
            try:
                return self._read(self._mark(mark)) == mark.encode()
            except FileNotFoundError:
                if time.monotonic() > until:
                    return False
            time.sleep(0.2)

    def _mark(self, mark: str) -> str:
        return f"{self.root}/marks/{mark}"

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

    def _remove(self, path: str) -> None:
        try:
            self._retry(lambda: self._fs.rm_file(path))
        except FileNotFoundError:
            return

    def _read(self, path: str) -> bytes:
        raw: bytes = self._retry(lambda: self._fs.cat_file(path, **self._how_to_read))
        return raw

    def _publish(self, path: str, data: bytes) -> None:
        try:
            self._write(path, data)
        except OSError as error:
            if error.errno not in REFUSED and not isinstance(error, PermissionError):
                raise
            why = error.strerror or error
            raise UserError(
                f"storage {self.url}: expected a folder that can be written ({why}: {path}); choose --storage"
            ) from error

    def _write(self, path: str, data: bytes) -> None:
        self._folder_of(path)
        if not self._local:
            self._retry(lambda: self._fs.pipe_file(path, data))
            return
        temporary = f"{path}.{uuid.uuid4().hex}.tmp"
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            if os.path.exists(temporary):
                os.remove(temporary)

    def _folder_of(self, path: str) -> None:
        folder = path.rsplit("/", 1)[0]
        if self._local or not (self._folderless or folder in self._made):
            self._retry(lambda: self._fs.makedirs(folder, exist_ok=True))
            self._made.add(folder)

    def _retry(self, call: Callable[[], T]) -> T:
        """`call`, tried again for a while where a remote storage did not answer.

        Raises:
            OSError: no answer, whatever the driver calls that.
        """
        until = time.monotonic() + (0.0 if self._local else self._patience)
        pause, longest = PAUSES
        while True:
            try:
                return call()
            except (*NO, ImportError, TypeError, ValueError):
                raise
            except Exception as error:  # drivers let their libraries' own errors through
                if time.monotonic() + pause > until:
                    if isinstance(error, OSError):
                        raise
                    raise ConnectionError(f"{type(error).__name__}: {error}") from error
            time.sleep(pause)
            pause = min(2 * pause, longest)


def shared_store(url: str, mark: str) -> Store:
    """The store at `url`, once it is proven that this host sees there what the driver sees.

    Raises:
        MismatchError: not the storage in which `mark` was left.
        UserError: as `Store`.
    """
    store = Store(url)
    if not store.has_marker(mark):
        raise MismatchError(
            f"storage {url}: expected the driver's files here, found another place of that name; "
            "mount the same storage on every node or use a URL"
        )
    return store


def _decode(raw: bytes, key: str) -> Artifact | None:
    """What the bytes say, or None if they are not what was written under `key`."""
    try:
        length = int.from_bytes(raw[:8], "little")
        metadata = json.loads(raw[8 : 8 + length])["__metadata__"]
        tensors = load_tensors(raw)
        tensors.pop("_", None)
        whole = metadata["sha256"] == _digest(tensors, metadata["info"]) and metadata["id"] == key
        return Artifact(tensors, json.loads(metadata["info"])) if whole else None
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError):
        return None


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    sha = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.numpy().tobytes())
    return sha.hexdigest()
