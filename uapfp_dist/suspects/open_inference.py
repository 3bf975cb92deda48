"""A suspect behind the Open Inference Protocol v2 (KServe, Triton, MLServer)."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.declared_input import Dimensions, check_declared
from uapfp_dist.suspects.endpoint import Endpoint
from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.suspects.reply import one_per_image
from uapfp_dist.suspects.request_template import json_body
from uapfp_dist.suspects.response_parsing import quoted
from uapfp_dist.suspects.suspect import InputMismatchError, TooLargeError, TransientError

INTEGERS = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
DATATYPES: dict[str, np.dtype[Any]] = {
    **{name: np.dtype(name.lower()) for name in INTEGERS},
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
}
"""The protocol's types that images may be sent in."""


@dataclass(frozen=True)
class TensorInput:
    """The input that images are sent as."""

    name: str
    datatype: str
    """Of the protocol; empty: not declared, then FP32, or UINT8 for integers."""
    dimensions: Dimensions = ()
    """The batch first; empty: not declared."""

    @property
    def batch(self) -> int:
        """Images of every request, where one number is declared; else 0."""
        first = self.dimensions[0] if self.dimensions else 0
        return first if isinstance(first, int) and first > 0 else 0


class OpenInferenceSuspect:
    """A model behind the Open Inference Protocol v2 (REST, JSON).

    What its metadata declare of the input is obeyed; where the server has none, the input is taken as 32-bit floats,
    or bytes at scale 0-255.

    Args:
        endpoint: `http://HOST/v2/models/NAME` with or without `/infer`.
        input_format: of the images.
        tensor: name of the model's input; empty: the one that its metadata declare, else `input`.
        shape: (c, h, w) of the kit's images.

    Raises:
        UserError: another path.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        input_format: InputFormat,
        tensor: str,
        shape: tuple[int, int, int],
    ) -> None:
        self._endpoint, self._input_format, self._tensor = endpoint, input_format, tensor
        self._shape = shape
        self._declared: TensorInput | None = None
        if not re.fullmatch(r".*/v2/models/[^/]+(/versions/[^/]+)?(/infer)?/?", self._endpoint.path):
            raise UserError(
                f"suspect {self._endpoint.url}: expected a path /v2/models/NAME, got {self._endpoint.path or 'none'}",
                argument="at",
            )
        self._path = self._endpoint.path.rstrip("/").removesuffix("/infer")

    @property
    def certificate(self) -> str:
        """See `Endpoint.certificate`."""
        return self._endpoint.certificate

    @certificate.setter
    def certificate(self, expected: str) -> None:
        self._endpoint.certificate = expected

    def query(self, images: Tensor, timeout: float) -> list[Any]:
        """See `Suspect.query`. The first of several outputs is used.

        Raises:
            InputMismatchError: its metadata declare another input than what it would be sent; nothing was sent.
        """
        declared = self._input(timeout)
        n_images, batch = len(images), declared.batch
        if batch and n_images > batch:
            raise TooLargeError(f"its metadata declare batches of {batch}", sent=False)
        if batch:  # filled up with the last image
            images = torch.cat([images, images[-1:].expand(batch - n_images, *images.shape[1:])])
        array = self._input_format.encode(images)
        tensor = {
            "name": declared.name,
            "shape": list(array.shape),
            "datatype": declared.datatype or ("UINT8" if array.dtype == np.uint8 else "FP32"),
            "data": array.ravel().tolist(),
        }
        reply = self._endpoint.post(json_body({"inputs": [tensor]}), f"{self._path}/infer", len(images), timeout)
        try:
            output = reply["outputs"][0]
            shape, data = output["shape"], output["data"]
        except (KeyError, IndexError, TypeError) as error:
            raise TransientError("a response without outputs") from error
        if not isinstance(data, list) or not isinstance(shape, list) or not shape or shape[0] != len(images):
            raise TransientError(f"expected {len(images)} responses, got an output of another shape")
        if len(data) == len(images):
            return data[:n_images]
        width = len(data) // len(images)
        rows = one_per_image([data[i : i + width] for i in range(0, len(data), width or 1)], len(images))
        return list(rows)[:n_images]

    def _input(self, timeout: float) -> TensorInput:
        """What the metadata declare, read once and checked."""
        if self._declared is None:
            found = self._choose(self._endpoint.get(self._path, timeout))
            if found.datatype:
                check_declared(
                    self._endpoint.url, self._input_format, self._shape, found.dimensions, DATATYPES[found.datatype]
                )
            self._declared = found
        return self._declared

    def _choose(self, metadata: Any) -> TensorInput:
        inputs = metadata.get("inputs") if isinstance(metadata, dict) else None
        if not isinstance(inputs, list) or not inputs or not all(isinstance(one, dict) for one in inputs):
            return TensorInput(self._tensor or "input", "")
        names = [one.get("name") for one in inputs]
        chosen = [one for one in inputs if not self._tensor or one.get("name") == self._tensor]
        if len(chosen) != 1:
            raise InputMismatchError(
                f"suspect {self._endpoint.url}: expected one input {self._tensor or 'of images'}, it declares "
                f"{', '.join(map(quoted, names))}; name its input in tensor",
                argument="tensor",
            )
        name, datatype, dimensions = (chosen[0].get(key) for key in ("name", "datatype", "shape"))
        if datatype not in DATATYPES or not isinstance(name, str):
            raise InputMismatchError(
                f"suspect {self._endpoint.url}: expected an input of {', '.join(DATATYPES)}, it declares "
                f"{quoted(datatype)}; name another model, or write a function that calls it",
                argument="at",
            )
        return TensorInput(name, datatype, tuple(dimensions) if isinstance(dimensions, list) else ())
