"""The store: artifacts by (kind, id), one file each, written atomically, verified when read."""

import json
import secrets
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import fsspec
from torch import Tensor

from uapfp_dist.errors import MismatchError, UserError
from uapfp_dist.messages import one_line
from uapfp_dist.storage.artifacts import (
    FORMAT,
    Artifact,
    Header,
    TornArtifactError,
    decode,
    decode_header,
    encode,
    header_bytes,
    map_tensors,
)
from uapfp_dist.storage.filesystem import Filesystem

READERS = 8
"""Artifacts that are verified at a time; each is in memory while it is."""
CHUNK = 64
"""Artifacts that a reader is given at most: handing one over takes as long as reading a small one."""
HEADER_BYTES = 1 << 14
"""Of an artifact, as many as nearly always precede its tensors."""
MOST_HEADER_BYTES = 1 << 30
"""A torn artifact may claim any number."""
MARKER_SECONDS = 5.0
"""How long a marker is looked for: a network disk may show a new file late."""
MARKER_DAYS = 30
"""Age at which no job looks for a marker any more."""


class Store:
    """Artifacts by (kind, id).

    Args:
        url: a local path or any fsspec URL. The folder is made (a bucket is not); a file there names the format.
        is_shared: another process of the job has opened it: where it does not answer now, it is tried for longer.

    Raises:
        UserError: not writable, or written by another version.
    """

    def __init__(self, url: str, is_shared: bool = False) -> None:
        self.url = url
        self._files = Filesystem(url, is_shared)
        self.root = self._files.root
        self._verified: dict[tuple[str, str], tuple[str, ...]] = {}
        try:
            found = self._read_format()
        except UserError:
            raise
        except Exception as error:  # drivers raise their libraries' own, such as NoCredentialsError
            raise UserError(
                f"storage {url}: expected a folder that can be written ({one_line(error)}); choose another",
                argument="storage",
            ) from error
        if found != FORMAT:
            raise UserError(
                f"storage {url}: expected artifacts of format {FORMAT}, found format {found}; choose another",
                argument="storage",
            )
        self._files.confirmed = True

    def _read_format(self) -> object:
        path = f"{self.root}/store.json"
        try:
            return json.loads(self._files.read(path)).get("format")
        except FileNotFoundError:
            self._files.write(path, json.dumps({"format": FORMAT}).encode())
            return FORMAT

    def path(self, kind: str, key: str) -> str:
        """Where the artifact lies."""
        return f"{self.root}/{kind}/{key}.safetensors"

    def has(self, kind: str, key: str) -> bool:
        """True if a file of that name was published (its content is checked when it is read)."""
        return self._files.exists(self.path(kind, key))

    def put(self, kind: str, key: str, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
        """Publish an artifact atomically, in place of one that is there."""
        self._files.write(self.path(kind, key), encode(kind, key, Artifact(dict(tensors), dict(info))))

    def put_new(self, kind: str, key: str, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
        """The same unless one is there: of two processes that make it at a time, everybody goes by the first one's.

        On a GPU no training gives the same weights twice; what was made with the first ones stays true.
        """
        data = encode(kind, key, Artifact(dict(tensors), dict(info)))
        self._files.write(self.path(kind, key), data, unless_there=True)

    def get(self, kind: str, key: str) -> Artifact:
        """Read and verify.

        Raises:
            TornArtifactError: truncated, flipped or foreign bytes; the file has been removed, so it will be rebuilt.
            FileNotFoundError: there is none.
        """
        return self._verified_read(kind, key)[1]

    def headers(self, kind: str, keys: Iterable[str]) -> dict[str, Header]:
        """Id to what an artifact says of itself, of those that are there, several at a time; their tensors stay unread.

        For what is said beside the work: nothing is verified, and a torn one is left out.
        """
        wanted = [key for _, key in sorted(self.has_among((kind, key) for key in keys))]
        with ThreadPoolExecutor(READERS) as threads:
            found = zip(wanted, threads.map(lambda key: self._header(kind, key), wanted), strict=True)
            return {key: header for key, header in found if header is not None}

    def _header(self, kind: str, key: str) -> Header | None:
        path = self.path(kind, key)
        try:
            raw = self._files.read_start(path, HEADER_BYTES)
            if header_bytes(raw) > len(raw):
                raw = self._files.read_start(path, min(header_bytes(raw), MOST_HEADER_BYTES))
        except FileNotFoundError:
            return None
        return decode_header(raw, key)

    def get_mapped(self, kind: str, key: str) -> Artifact:
        """`get`, but the tensors stay on disk and are read when they are used: they take no memory of this process.

        Raises:
            TornArtifactError, FileNotFoundError: as `get`.
        """
        raw, artifact = self._verified_read(kind, key)
        with self._files.on_disk(self.path(kind, key), raw) as path:
            return Artifact(map_tensors(path), artifact.info)

    def _verified_read(self, kind: str, key: str) -> tuple[bytes, Artifact]:
        path = self.path(kind, key)
        for _ in range(2):  # a transfer may be torn where the file is whole: look twice before it is removed
            raw = self._files.read(path)
            artifact = decode(raw, key)
            if artifact is not None:
                return raw, artifact
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
        there = self._listed(wanted)
        fresh = [pair for pair, version in there.items() if self._verified.get(pair) != version]
        size = max(1, min(CHUNK, len(fresh) // (4 * READERS)))
        chunks = [fresh[start : start + size] for start in range(0, len(fresh), size)]
        with ThreadPoolExecutor(READERS) as threads:
            found = threads.map(lambda chunk: [pair for pair in chunk if self.intact(*pair)], chunks)
            whole = {pair for chunk in found for pair in chunk}
        self._verified |= {pair: there[pair] for pair in whole}
        return whole | (there.keys() - set(fresh))

    def has_among(self, wanted: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of `wanted`, as (kind, id), of which a file was published: `has`, but one request for a thousand."""
        return set(self._listed(wanted))

    def _listed(self, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, ...]]:
        """Those of `wanted` of which there is a file, each with its version."""
        pairs = sorted(set(wanted))
        listed: dict[str, tuple[str, ...]] = {}
        for kind in {kind for kind, _ in pairs}:
            listed |= self._files.list(f"{self.root}/{kind}")
        paths = ((pair, self.path(*pair)) for pair in pairs)
        return {pair: listed[path] for pair, path in paths if path in listed}

    def discard(self, kind: str, key: str) -> None:
        """Remove an artifact if it is there."""
        self._files.remove(self.path(kind, key))

    def remove_leftovers(self) -> int:
        """Remove what killed writers left half-written on a disk; returns how many files."""
        return self._files.remove_leftovers()

    def write_marker(self) -> str:
        """Write a file that only those who see this very storage can know; returns its name, for `has_marker`."""
        today = int(time.time() // 86400)
        for path in self._files.list(f"{self.root}/marks"):
            day = path.rsplit("/", 1)[-1].split("-")[0]
            if day.isdigit() and int(day) < today - MARKER_DAYS:
                self._files.remove(path)
        marker = f"{today}-{secrets.token_hex(16)}"
        self._files.write(f"{self.root}/marks/{marker}", marker.encode())
        return marker

    def has_marker(self, marker: str) -> bool:
        """Whether this is the storage in which `marker` was written, as far as this host sees it."""
        until = time.monotonic() + MARKER_SECONDS
        while True:
            try:
                return self._files.read(f"{self.root}/marks/{marker}") == marker.encode()
            except FileNotFoundError:
                if time.monotonic() > until:
                    return False
            time.sleep(0.2)


def shared_store(url: str, marker: str) -> Store:
    """The store at `url`, once it is proven that this host sees the driver's storage there.

    Raises:
        MismatchError: not the storage in which the driver wrote `marker`.
        UserError: as `Store`.
    """
    store = Store(url, is_shared=True)
    if not store.has_marker(marker):
        raise MismatchError(
            f"storage {url}: expected the driver's files here, found another place of that name; "
            "mount the same storage on every node or use a URL",
            argument="storage",
        )
    return store


def is_store(url: str) -> bool:
    """Whether a store lies there; unlike `Store`, it makes none.

    Raises:
        UserError: neither a path nor a URL that fsspec knows.
    """
    try:
        system, root = fsspec.core.url_to_fs(url)
        return bool(system.exists(f"{root}/store.json"))
    except (ImportError, ValueError, OSError) as error:
        raise UserError(
            f"storage {url}: expected a path or an fsspec URL ({error}); choose another", argument="storage"
        ) from error
