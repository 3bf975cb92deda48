"""A suspect as an ONNX file, run by ONNX Runtime (the extra `onnx`): standard operators only, no code from the file."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.messages import one_line
from uapfp_dist.suspects.declared_input import check_declared
from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.suspects.suspect import TransientError

MAX_BYTES = 2 << 30
"""Of a file; a protocol buffer cannot be larger."""
INPUT_TYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
    "tensor(float16)": np.dtype(np.float16),
    **{f"tensor({name})": np.dtype(name) for name in ("uint8", "int8", "uint16", "int16", "int32", "int64")},
}
"""Types of an input that images may be converted to."""


class OnnxSuspect:
    """A model in one file; its first output is used.

    Args:
        path: the file.
        input_format: of the images.
        shape: (c, h, w) of the kit's images.

    Raises:
        UserError: the extra is missing, no ONNX model, one that would read other files, or one that declares another
            type or shape of its input.
    """

    def __init__(self, path: Path, input_format: InputFormat, shape: tuple[int, int, int]) -> None:
        data = _read(path)
        try:
            import onnx  # type: ignore[import-not-found]  # an extra
            import onnxruntime  # type: ignore[import-not-found]
        except ImportError as error:
            raise UserError("suspect: ONNX files need the extra: pip install 'uapfp_dist[onnx]'") from error
        try:
            model = onnx.load_model_from_string(data)
        except Exception as error:  # protobuf's exceptions
            raise UserError(
                f"suspect {path}: expected an ONNX model, got something else; export it again", argument="at"
            ) from error
        if (external := next(_external_data(model), None)) is not None:
            raise UserError(
                f"suspect {path}: expected a model in one file, got one with external data at {external!a:.80}, which "
                "is never opened; save it without external data",
                argument="at",
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        try:
            providers = [
                p
                for p in onnxruntime.get_available_providers()
                if p in ("CUDAExecutionProvider", "CPUExecutionProvider")
            ]
            # From bytes: a path inside the model has no folder to be relative to.
            self._session = onnxruntime.InferenceSession(data, options, providers=providers)
        except Exception as error:  # ONNX Runtime's exceptions
            raise UserError(
                f"suspect {path}: ONNX Runtime refuses it ({one_line(error)}); check it with onnx.checker",
                argument="at",
            ) from error
        self._input_format, self._options = input_format, onnxruntime.RunOptions
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in INPUT_TYPES:
            got = ", ".join(one.type for one in inputs) or "none"
            raise UserError(
                f"suspect {path}: expected one input of images, got {got}; export another one", argument="at"
            )
        self._input = inputs[0]
        self._dtype = INPUT_TYPES[self._input.type]
        check_declared(str(path), input_format, shape, self._input.shape, self._dtype)

    def query(self, images: Tensor, timeout: float) -> list[Any]:
        """See `Suspect.query`.

        Raises:
            TransientError: it takes longer than `timeout`.
            UserError: the model does not take such images.
        """
        array = self._input_format.encode(images).astype(self._dtype, copy=False)
        parts = _in_batches(array, self._input.shape[0] if self._input.shape else None)
        # A file may hold an endless loop: the runtime checks `terminate` between nodes.
        timer = threading.Timer(timeout, setattr, (options := self._options(), "terminate", True))
        timer.daemon = True
        timer.start()
        try:
            outputs = [np.asarray(self._session.run(None, {self._input.name: part}, options)[0]) for part in parts]
        except Exception as error:  # ONNX Runtime's exceptions
            if options.terminate:
                raise TransientError(f"no response within {timeout:.3g} s") from error
            raise UserError(
                f"suspect: the ONNX model does not take images of shape {array.shape} ({one_line(error)}); "
                "set layout and channels as it needs them",
                argument="layout",
            ) from error
        finally:
            timer.cancel()
        responses = np.concatenate(outputs) if outputs[0].ndim else np.stack(outputs)
        if len(responses) != (expected := sum(map(len, parts))):
            raise UserError(f"suspect: expected {expected} responses of the ONNX model, got {len(responses)}")
        return responses[: len(images)].tolist()  # type: ignore[no-any-return]


def _in_batches(array: np.ndarray, size: object) -> list[np.ndarray]:
    """Parts of the one size that the model takes, the last one filled up with its last image; None: any size."""
    if not isinstance(size, int) or size < 1:
        return [array]
    missing = -len(array) % size
    filled = np.concatenate([array, array[-1:].repeat(missing, axis=0)])
    return np.split(filled, len(filled) // size)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"suspect {path}: expected at most {MAX_BYTES:,} bytes, got more", argument="at")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"suspect {path}: expected a file ({error.strerror}); check the path", argument="at") from error


def _external_data(message: Any) -> Iterator[str]:
    """Locations outside the file that tensors anywhere in the model refer to."""
    if message.DESCRIPTOR.name == "TensorProto":
        if message.data_location == message.EXTERNAL or len(message.external_data):
            yield next((entry.value for entry in message.external_data if entry.key == "location"), "nowhere")
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in [value] if hasattr(value, "DESCRIPTOR") else value:
                yield from _external_data(item)
