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

FORMAT = 1
"""Of the bytes; a storage of another one is refused."""


class TornArtifactError(RuntimeError):
    """A file under an artifact's name is not what was written there."""


@dataclass(frozen=True)
class Artifact:
    """Tensors and a JSON value."""

    tensors: dict[str, Tensor]
    info: dict[str, Any]


def encode(kind: str, key: str, artifact: Artifact) -> bytes:
    """The bytes of an artifact, with its kind, its id and a digest of its content."""
    # safetensors refuses tensors that share memory
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in artifact.tensors.items()}
    text = json.dumps(artifact.info, sort_keys=True)
    metadata = {"format": str(FORMAT), "kind": kind, "id": key, "info": text, "sha256": _digest(tensors, text)}
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
