"""ONNX files on disk: the model, and its weights where they stand in files of their own beside it.

torch's exporter writes `model.onnx` and `model.onnx.data`. The model names those files, and it may come from anybody:
a name that leads out of its folder would read any file of this machine into a model.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uapfp_dist.errors import UserError

MAX_BYTES = 2 << 30
"""Of the model; a protocol buffer cannot be larger."""
MAX_EXTERNAL_BYTES = 4 << 30
"""Of all files of weights beside it."""


@dataclass(frozen=True)
class OnnxFile:
    """A model, and the files of weights that it names."""

    model: bytes
    external: tuple[Path, ...]
    """In the model's own folder; their names are the model's."""


def read_onnx(path: Path) -> OnnxFile:
    """Read a model and check what it refers to; the weights beside it are not read.

    Raises:
        UserError: no file, the extra is missing, no ONNX model, weights elsewhere than beside it, missing or torn.
    """
    data = _read(path)
    try:
        import onnx  # type: ignore[import-not-found]  # an extra
    except ImportError as error:
        raise UserError("suspect: ONNX files need the extra: pip install 'uapfp_dist[onnx]'") from error
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's exceptions
        raise UserError(
            f"suspect {path}: expected an ONNX model, got something else; export it again", argument="at"
        ) from error
    weights = [tensor for tensor in model.graph.initializer if _is_external(tensor)]
    if len(anywhere := list(_external(model))) > len(weights):
        name = _fields(next((one for one in anywhere if one not in weights), anywhere[0])).get("location", "")
        raise _refusal(path, name, "is no weight of its main graph; save it without external data")
    ends: dict[str, int] = {}
    for tensor in weights:
        fields = _fields(tensor)
        name = fields.get("location", "")
        ends[name] = max(ends.get(name, 0), _end(path, name, fields, tensor, onnx))
    return OnnxFile(data, tuple(_beside(path, name, end) for name, end in ends.items()))


def external_digests(path: Path) -> list[str]:
    """`name sha256` of each file of weights beside a model: with its own digest they say which model it is.

    None of a file that `read_onnx` refuses: nobody can query it.
    """
    try:
        files = read_onnx(path).external
    except UserError:
        return []
    return [f"{file.name} {_digest(file)}" for file in files]


def _digest(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"suspect {path}: expected at most {MAX_BYTES:,} bytes, got more", argument="at")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"suspect {path}: expected a file ({error.strerror}); check the path", argument="at") from error


def _external(message: Any) -> Iterator[Any]:
    """Tensors anywhere in a message whose numbers stand outside the file."""
    if message.DESCRIPTOR.name == "TensorProto":
        if _is_external(message):
            yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in [value] if hasattr(value, "DESCRIPTOR") else value:
                yield from _external(item)


def _is_external(tensor: Any) -> bool:
    return tensor.data_location == tensor.EXTERNAL or len(tensor.external_data) > 0


def _fields(tensor: Any) -> dict[str, str]:
    """Where its numbers stand: location, offset, length."""
    return {entry.key: entry.value for entry in tensor.external_data}


def _end(path: Path, name: str, fields: dict[str, str], tensor: Any, onnx: Any) -> int:
    """The byte before which a tensor ends in its file."""
    try:
        size = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        for dimension in tensor.dims:
            size *= dimension
        offset, length = int(fields.get("offset") or 0), int(fields.get("length") or size)
    except (ValueError, KeyError, TypeError) as error:
        raise _refusal(path, name, "has a place that is no number; export it again") from error
    if min(offset, length, size) < 0:
        raise _refusal(path, name, "has a place below 0; export it again")
    return offset + max(length, size)


def _beside(path: Path, name: str, end: int) -> Path:
    """The file of that name in the model's folder.

    Raises:
        UserError: a name that is no plain file name, no such file, a link, one that is too small or too large.
    """
    if not name or name in (".", "..") or not name.isprintable() or set(name) & set("/\\:"):
        raise _refusal(path, name, "leads elsewhere, and only files beside the model are opened; export it again")
    file = path.parent / name
    if file.is_symlink() or not file.is_file():
        kind = "a link" if file.is_symlink() else "not there"
        raise _refusal(path, name, f"is {kind}; put the file of that name beside the model")
    size = file.stat().st_size
    if size < end:
        raise _refusal(path, name, f"has {size:,} bytes of at least {end:,}; copy it again")
    if size > MAX_EXTERNAL_BYTES:
        raise _refusal(path, name, f"has {size:,} bytes of at most {MAX_EXTERNAL_BYTES:,}; export a smaller model")
    return file


def _refusal(path: Path, name: str, why: str) -> UserError:
    return UserError(
        f"suspect {path}: expected its weights in files beside it, external data at {name!a:.80} {why}", argument="at"
    )
