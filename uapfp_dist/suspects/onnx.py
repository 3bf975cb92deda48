"""A suspect as an ONNX file, run by ONNX Runtime (the extra `onnx`): standard operators only, no code from the file."""

import contextlib
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.messages import one_line
from uapfp_dist.suspects.declared_input import check_declared
from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.suspects.onnx_file import OnnxFile, read_onnx
from uapfp_dist.suspects.onnx_output import choose_output, rows_of
from uapfp_dist.suspects.suspect import TransientError

INPUT_TYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
    "tensor(float16)": np.dtype(np.float16),
    **{f"tensor({name})": np.dtype(name) for name in ("uint8", "int8", "uint16", "int16", "int32", "int64")},
}
"""Types of an input that images may be converted to."""
MOST_MEMORY = 8 << 30
"""Bytes that all ONNX models of this process hold together: a small file may ask for any amount."""
NO_MEMORY = "Available memory of"
"""How ONNX Runtime says that there is no more."""
MOST_AT_ONCE = 64
"""Images that a model of any batch gets in one run."""
MOST_BATCH_BYTES = 1 << 30
"""Of a batch whose size the model fixes."""


class OnnxSuspect:
    """A model in a file, with its weights in it or beside it.

    Args:
        path: the file.
        input_format: of the images.
        shape: (c, h, w) of the kit's images.
        n_classes: of the kit.
        output: what is read of it, see `OutputFormat`.
        output_tensor: which of its outputs; empty: the only one that this can be.

    Raises:
        UserError: the extra is missing, no ONNX model, weights elsewhere than beside it, one that declares another
            type or shape of its input, several outputs of which none is named.
    """

    def __init__(
        self,
        path: Path,
        input_format: InputFormat,
        shape: tuple[int, int, int],
        n_classes: int,
        output: str,
        output_tensor: str,
    ) -> None:
        self._session, self._options = _session(path, read_onnx(path))
        self._input_format = input_format
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in INPUT_TYPES:
            got = ", ".join(one.type for one in inputs) or "none"
            raise UserError(
                f"suspect {path}: expected one input of images, got {got}; export another one", argument="at"
            )
        self._input = inputs[0]
        self._dtype = INPUT_TYPES[self._input.type]
        self._declared = _with_batch(list(self._input.shape or []), input_format.array_shape(shape))
        self._unbatched = len(self._declared) > len(self._input.shape or [])
        check_declared(str(path), input_format, shape, self._declared, self._dtype)
        self._batch = _batch_size(path, self._declared, input_format.array_shape(shape), self._dtype)
        self._output = choose_output(str(path), self._session.get_outputs(), output, output_tensor, n_classes)

    def query(self, images: Tensor, timeout: float) -> list[Any]:
        """See `Suspect.query`.

        Raises:
            TransientError: it takes longer than `timeout`.
            UserError: the model does not take such images, or gives something else than a row for each.
        """
        # A file may hold an endless loop: the runtime checks `terminate` between nodes.
        timer = threading.Timer(timeout, setattr, (options := self._options(), "terminate", True))
        timer.daemon = True
        timer.start()
        try:
            parts = images.split(self._batch or MOST_AT_ONCE)
            return [row for part in parts for row in self._run(part, options, timeout)]
        finally:
            timer.cancel()

    def _run(self, images: Tensor, options: Any, timeout: float) -> list[Any]:
        """One run of the model: a batch of its size, filled up with the last image."""
        array = self._input_format.encode(images).astype(self._dtype, copy=False)
        (array,) = _in_batches(array, self._batch)
        try:
            (found,) = self._session.run(
                [self._output], {self._input.name: array[0] if self._unbatched else array}, options
            )
        except Exception as error:  # ONNX Runtime's exceptions
            if options.terminate:
                raise TransientError(f"no response within {timeout:.3g} s") from error
            if NO_MEMORY in str(error):
                raise UserError(
                    f"suspect: the ONNX model needs more memory than the {MOST_MEMORY >> 30} GiB that all of them get; "
                    "export a smaller one, or one of smaller batches",
                    argument="at",
                ) from error
            raise UserError(
                f"suspect: the ONNX model does not take images of shape {array.shape} ({one_line(error)}); "
                "set layout and channels as it needs them",
                argument="layout",
            ) from error
        return rows_of(found, len(array))[: len(images)]


def _session(path: Path, file: OnnxFile) -> tuple[Any, Any]:
    """ONNX Runtime's session, and its class of options of a run."""
    try:
        import onnxruntime  # type: ignore[import-not-found]  # an extra
    except ImportError as error:
        raise UserError("suspect: ONNX files need the extra: pip install 'uapfp_dist[onnx]'") from error
    _limit_memory()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.use_env_allocators", "1")
    available = onnxruntime.get_available_providers()
    gpu = [("CUDAExecutionProvider", {"gpu_mem_limit": MOST_MEMORY})] if "CUDAExecutionProvider" in available else []
    try:
        if file.external:
            # Mapped, not read: the runtime copies what it needs.
            weights = [np.memmap(one, mode="r") for one in file.external]
            names = [one.name for one in file.external]
            options.add_external_initializers_from_files_in_memory(names, weights, [len(one) for one in weights])
        # From bytes: a path inside the model has no folder to be relative to.
        session = onnxruntime.InferenceSession(file.model, options, providers=[*gpu, "CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions
        raise UserError(
            f"suspect {path}: ONNX Runtime refuses it ({one_line(error)}); check it with onnx.checker",
            argument="at",
        ) from error
    return session, onnxruntime.RunOptions


@cache
def _limit_memory() -> None:
    """Once per process: sessions share one allocator, which refuses what goes beyond MOST_MEMORY."""
    import onnxruntime

    info = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    as_requested = 1  # instead of the next power of two
    limits = onnxruntime.OrtArenaCfg({"max_mem": MOST_MEMORY, "arena_extend_strategy": as_requested})
    with contextlib.suppress(RuntimeError):  # the user's own code has registered one
        onnxruntime.create_and_register_allocator(info, limits)


def _with_batch(declared: list[object], sent: tuple[int, ...]) -> list[object]:
    """Declared dimensions, the batch first: a model of single images has none."""
    return [1, *declared] if declared == list(sent) else declared


def _batch_size(path: Path, declared: list[object], sent: tuple[int, ...], dtype: np.dtype[Any]) -> int | None:
    """The one size that the model takes; None: any.

    Raises:
        UserError: one that takes too much memory.
    """
    size = declared[0] if declared else None
    if not isinstance(size, int) or size < 1:
        return None
    if size * int(np.prod(sent)) * dtype.itemsize > MOST_BATCH_BYTES:
        raise UserError(
            f"suspect {path}: expected a batch of at most {MOST_BATCH_BYTES >> 30} GiB, it takes {size:,} images at "
            "once; export it with another batch",
            argument="at",
        )
    return size


def _in_batches(array: np.ndarray, size: object) -> list[np.ndarray]:
    """Parts of the one size that the model takes, the last one filled up with its last image; None: any size."""
    if not isinstance(size, int) or size < 1:
        return [array]
    missing = -len(array) % size
    filled = np.concatenate([array, array[-1:].repeat(missing, axis=0)])
    return np.split(filled, len(filled) // size)
