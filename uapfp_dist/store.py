"""Content-addressed artifacts under a path or fsspec URL: one file each, published whole, verified when read.

A file is safetensors with a JSON header: no pickle, nothing in it can run.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import fsspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from uapfp_dist.errors import UserError

FORMAT = 1


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
        url: a local path or any fsspec URL. The folder is made; a file there names the format.

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
        marker = f"{self.root}/store.json"
        try:
            if not self._fs.exists(marker):
                self._publish(marker, json.dumps({"format": FORMAT}).encode())
            found = json.loads(self._fs.cat_file(marker)).get("format")
        except (OSError, ValueError, AttributeError) as error:
            cause = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"storage {url}: expected a folder that can be written ({cause}); choose --storage"
            ) from error
        if found != FORMAT:
            raise UserError(
                f"storage {url}: expected artifacts of format {FORMAT}, found format {found}; choose another --storage"
            )

    def path(self, kind: str, key: str) -> str:
        """Where the artifact lies."""
        return f"{self.root}/{kind}/{key}.safetensors"

    def has(self, kind: str, key: str) -> bool:
        """True if a file of that name was published (its content is checked when it is read)."""
        return bool(self._fs.exists(self.path(kind, key)))

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
        raw = self._fs.cat_file(path)
        try:
            length = int.from_bytes(raw[:8], "little")
            metadata = json.loads(raw[8 : 8 + length])["__metadata__"]
            tensors = load_tensors(raw)
            tensors.pop("_", None)
            whole = metadata["sha256"] == _digest(tensors, metadata["info"]) and metadata["id"] == key
        except (SafetensorError, ValueError, KeyError, TypeError, OverflowError):
            whole = False
        if not whole:
            self.discard(kind, key)
            raise TornArtifactError(f"artifact {path} was torn and has been removed; run again to rebuild it")
        return Artifact(tensors, json.loads(metadata["info"]))

    def intact(self, kind: str, key: str) -> bool:
        """True if the artifact is there and whole; a torn one is removed."""
        if not self.has(kind, key):
            return False
        try:
            self.get(kind, key)
        except (TornArtifactError, FileNotFoundError):
            return False
        return True

    def discard(self, kind: str, key: str) -> None:
        """Remove an artifact if it is there."""
        path = self.path(kind, key)
        if self._fs.exists(path):
            self._fs.rm_file(path)

    def _publish(self, path: str, data: bytes) -> None:
        self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        if not self._local:  # an object store publishes a PUT whole
            self._fs.pipe_file(path, data)
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


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    sha = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.numpy().tobytes())
    return sha.hexdigest()
