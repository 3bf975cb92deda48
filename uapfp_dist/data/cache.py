"""A cache of decoded images per user: decoding a hundred thousand JPEGs at every start of a process takes a minute.

The folder is `$UAPFP_CACHE`, else `$XDG_CACHE_HOME/uapfp_dist`, else `~/.cache/uapfp_dist`. It may be removed at any
time; where it cannot be written, images are decoded at every start.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import torch
from torch import Tensor

from uapfp_dist.data.file_names import shown
from uapfp_dist.errors import UserError
from uapfp_dist.file_lock import wait_for_lock
from uapfp_dist.whole_file import whole_file

Remarks = TypeVar("Remarks")

MIN_FILES = 1000
"""Fewer files are not cached: decoding them is fast enough."""


def cache_folder() -> Path:
    """Where decoded images are kept."""
    chosen = os.environ.get("UAPFP_CACHE")
    return Path(chosen or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "uapfp_dist").expanduser()


def decoded(name: str, files: Sequence[Path], decode: Callable[[], Tensor]) -> Tensor:
    """What `decode()` returns for `files`, from the cache if it is there: mapped into memory, shared.

    The cache is keyed by the paths, sizes and times of the files. The first process decodes; others wait for it.

    Args:
        name: of the data set, and of how it is decoded.
        files: the images, in order.
        decode: returns (len(files), c, h, w) uint8.

    Raises:
        UserError: a missing file; whatever `decode` raises (nothing is cached then).
    """

    def complete(path: Path) -> tuple[Tensor, None] | None:
        images = _mapped(path)
        return None if images is None or len(images) != len(files) else (images, None)

    return _cached(name, files, lambda: (decode(), None), complete)[0]


def decoded_with_remarks(
    name: str, files: Sequence[Path], decode: Callable[[], tuple[Tensor, str]]
) -> tuple[Tensor, str]:
    """The same of files that need not all be images: (images, what `decode` says of how they were read).

    Args:
        name: as above.
        files: those that are looked at, in order.
        decode: returns (at most len(files), c, h, w) uint8, and remarks.

    Raises:
        UserError: as above.
    """

    def complete(path: Path) -> tuple[Tensor, str] | None:
        images = _mapped(path)
        with suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(path.with_suffix(".json").read_text())
            if images is not None and kept["n_images"] == len(images):
                return images, str(kept["remarks"])
        return None

    return _cached(name, files, decode, complete)


def _cached(
    name: str,
    files: Sequence[Path],
    decode: Callable[[], tuple[Tensor, Remarks]],
    complete: Callable[[Path], tuple[Tensor, Remarks] | None],
) -> tuple[Tensor, Remarks]:
    if len(files) < MIN_FILES:
        return decode()
    path = cache_folder() / f"{name}-{_listing_digest(name, files)}.npy"
    if (found := complete(path)) is not None:
        return found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_suffix(".lock").open("w")
    except OSError:
        return decode()
    with lock:
        wait_for_lock(lock)  # where there are no locks several processes decode the same
        if (found := complete(path)) is not None:
            return found
        images, remarks = decode()
        if remarks is not None:
            text = json.dumps({"n_images": len(images), "remarks": remarks})
            _publish(path.with_suffix(".json"), lambda file: file.write(text.encode()))
        _publish(path, lambda file: np.save(file, images.numpy()))
        found = complete(path)
        return (images, remarks) if found is None else found


def _listing_digest(name: str, files: Sequence[Path]) -> str:
    sha = hashlib.sha256()
    for file in files:
        try:
            stat = file.stat()
        except OSError as error:
            raise UserError(f"{name}: cannot read the image {shown(file)} ({error.strerror}); put it back") from error
        sha.update(f"{file.absolute()}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return sha.hexdigest()[:20]


def _mapped(path: Path) -> Tensor | None:
    """The array at `path`, copy on write (torch needs writable memory), or None if it is missing or torn."""
    try:
        array = np.load(path, mmap_mode="c")
    except (OSError, ValueError, EOFError):
        return None
    return torch.from_numpy(array) if array.dtype == np.uint8 and array.ndim == 4 else None


def _publish(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """A full disk is no error: then nothing is cached."""
    with suppress(OSError), whole_file(path) as new, new.open("wb") as file:
        write(file)
