"""A suspect as an ONNX file, run by ONNX Runtime (the extra `onnx`): standard operators only, no code of the file's."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from uapfp_dist.errors import UserError, one_line
from uapfp_dist.suspects.input_form import InputForm
from uapfp_dist.suspects.suspect import TransientError

MAX_BYTES = 2 << 30
"""Of a file; a protocol buffer cannot be larger."""
NUMBERS = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
"""Input types that images can be given as."""


class OnnxSuspect:
    """A model in one file; its first output counts.

    Args:
        path: the file.
        form: of the images.

    Raises:
        UserError: the extra is missing, no ONNX model, or one that would read further files.
    """

    def __init__(self, path: Path, form: InputForm) -> None:
        try:
            import onnx  # type: ignore[import-not-found]  # an extra
            import onnxruntime  # type: ignore[import-not-found]
        except ImportError as error:
            raise UserError("suspect: ONNX files need the extra: pip install 'uapfp_dist[onnx]'") from error
        data = _bytes(path)
        try:
            model = onnx.load_model_from_string(data)
        except Exception as error:  # protobuf's own kinds of error
            raise UserError(f"suspect {path}: expected an ONNX model, got something else; export it again") from error
        if (outside := next(_outside(model), None)) is not None:
            raise UserError(
                f"suspect {path}: expected a model whole in one file, it points to external data at {outside!a:.80}; "
                "no such file is opened: save it without external data"
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
            # From bytes: there is no folder that a path in it could be relative to.
            self._session = onnxruntime.InferenceSession(data, options, providers=providers)
        except Exception as error:  # ONNX Runtime's own kinds of error
            raise UserError(
                f"suspect {path}: ONNX Runtime refuses it ({one_line(error)}); check it with onnx.checker"
            ) from error
        self._form, self._options = form, onnxruntime.RunOptions
        self._input = self._session.get_inputs()[0]
        if self._input.type not in NUMBERS:
            raise UserError(f"suspect {path}: expected an input of images, got {self._input.type}; export another one")

    def ask(self, images: Tensor, timeout: float) -> list[Any]:
        """See `Suspect.ask`.

        Raises:
            TransientError: it takes longer than that.
            UserError: the model does not take such images.
        """
        array = self._form.encode(images).astype(NUMBERS[self._input.type], copy=False)
        batch = self._input.shape[0] if self._input.shape else None
        parts = np.split(array, len(array)) if batch == 1 else [array]
        # A file may hold a loop without end: between its nodes the runtime looks whether it shall stop.
        watch = threading.Timer(timeout, setattr, (options := self._options(), "terminate", True))
        watch.daemon = True
        watch.start()
        try:
            found = [np.asarray(self._session.run(None, {self._input.name: part}, options)[0]) for part in parts]
        except Exception as error:  # ONNX Runtime's own kinds of error
            if options.terminate:
                raise TransientError(f"no answer within {timeout:.3g} s") from error
            raise UserError(
                f"suspect: the ONNX model does not take images of shape {array.shape} ({one_line(error)}); "
                "see --layout and --channels"
            ) from error
        finally:
            watch.cancel()
        answers = np.concatenate(found) if found[0].ndim else np.stack(found)
        if len(answers) != len(images):
            raise UserError(f"suspect: expected {len(images)} answers of the ONNX model, got {len(answers)}")
        return answers.tolist()  # type: ignore[no-any-return]


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"suspect {path}: expected at most {MAX_BYTES:,} bytes; it is larger")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"suspect {path}: expected a file ({error.strerror}); check the path") from error


def _outside(message: Any) -> Iterator[str]:
    """Places outside the file where a tensor anywhere in the model says its values lie."""
    if message.DESCRIPTOR.name == "TensorProto":
        if message.data_location == message.EXTERNAL or len(message.external_data):
            yield next((entry.value for entry in message.external_data if entry.key == "location"), "nowhere")
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            several = [value] if hasattr(value, "DESCRIPTOR") else value
            for item in several:
                yield from _outside(item)
