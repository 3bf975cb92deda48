"""An artifact as bytes: safetensors with a JSON header. No pickle: nothing in a file can run."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors
from torch import Tensor

from uapfp_dist.serialization import Json
from uapfp_dist.storage.code_version import code_version

FORMAT = 1
"""Of the bytes; a storage of another one is refused."""


class TornArtifactError(RuntimeError):
    """A file under an artifact's name is not what was written there."""


@dataclass(frozen=True)
class Artifact:
    """Tensors and a JSON value."""

    tensors: dict[str, Tensor]
    info: dict[str, Any]


@dataclass(frozen=True)
class Header:
    """What an artifact says of itself; its tensors, and with them these values, are not verified."""

    info: Json
    code: str
    """Version of the code that wrote it; empty: not recorded."""


def encode(kind: str, key: str, artifact: Artifact) -> bytes:
    """The bytes of an artifact, with its kind, its id, a digest of its content and the version of the code."""
    # safetensors refuses tensors that share memory
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in artifact.tensors.items()}
    text = json.dumps(artifact.info, sort_keys=True)
    metadata = {"format": str(FORMAT), "kind": kind, "id": key, "info": text, "sha256": _digest(tensors, text)}
    metadata["code"] = code_version()
    return save_tensors(tensors or {"_": torch.zeros(1)}, metadata)  # safetensors wants at least one tensor


def decode(raw: bytes, key: str) -> Artifact | None:
    """The artifact that was written under `key`; None if these are not its bytes."""
    try:
        length = int.from_bytes(raw[:8], "little")
        metadata = json.loads(raw[8 : 8 + length])["__metadata__"]
        tensors = load_tensors(raw)
        tensors.pop("_", None)
        whole = metadata["sha256"] == _digest(tensors, metadata["info"]) and metadata["id"] == key
        return Artifact(tensors, json.loads(metadata["info"])) if whole else None
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError):
        return None


def header_bytes(raw: bytes) -> int:
    """How many bytes of an artifact precede its tensors, from its first ones."""
    return 8 + int.from_bytes(raw[:8], "little")


def decode_header(raw: bytes, key: str) -> Header | None:
    """What the artifact `key` says of itself, from the bytes before its tensors; None: torn."""
    try:
        metadata = json.loads(raw[8 : header_bytes(raw)])["__metadata__"]
        found = Header(json.loads(metadata["info"]), str(metadata.get("code", "")))
        return found if metadata["id"] == key else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def map_tensors(path: str) -> dict[str, Tensor]:
    """The tensors of a file on a disk, as views of it; they outlive its name."""
    tensors: dict[str, Tensor] = load_file(path)
    tensors.pop("_", None)
    return tensors


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    sha = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.numpy().tobytes())
    return sha.hexdigest()
