"""A suspect behind the Open Inference Protocol v2 (KServe, Triton, MLServer)."""

import itertools
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.messages import one_line
from uapfp_dist.suspects.declared_input import Dimensions, check_declared
from uapfp_dist.suspects.endpoint import Endpoint
from uapfp_dist.suspects.image_files import check_files, png_files
from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.suspects.response_parsing import quoted
from uapfp_dist.suspects.suspect import InputMismatchError, TooLargeError, UnexpectedResponseError
from uapfp_dist.suspects.tensors import (
    BYTES,
    DATATYPES,
    HEADER_LENGTH,
    array_tensor,
    file_tensor,
    output_values,
    request_body,
)

MOST_BATCH, MOST_BATCH_BYTES = 1024, 64 << 20
"""Images, and bytes of their pixels, of a batch whose size the server declares: one image is filled up to it."""


@dataclass(frozen=True)
class TensorChoice:
    """Which tensors are sent and asked for; what is left out is what the server declares."""

    input: str = ""
    """Name of the model's input."""
    output: str = ""
    """Name of the output that is asked for; empty: the first that comes."""
    datatype: str = ""
    """Of the input; BYTES: PNG files."""
    binary: bool = False
    """By the binary tensor extension."""

    def __post_init__(self) -> None:
        """Raises UserError for an unknown datatype."""
        if self.datatype and self.datatype not in (*DATATYPES, BYTES):
            raise unknown_name("datatype", self.datatype, (*DATATYPES, BYTES), argument="datatype")


@dataclass(frozen=True)
class TensorInput:
    """The input that images are sent as."""

    name: str
    datatype: str
    """Of the protocol; empty: not declared, then FP32, or UINT8 for integers."""
    dimensions: Dimensions = ()
    """The batch first, unless `single`; empty: not declared."""
    single: bool = False
    """Its dimensions are those of one image, without a batch."""
    largest: int = 0
    """Images of a request at most, as the server's configuration says; 0: it does not."""

    @property
    def batch(self) -> int:
        """Images of every request, where one number is declared; else 0."""
        first = self.dimensions[0] if self.dimensions and not self.single else 0
        return first if isinstance(first, int) and first > 0 else 0

    @property
    def most(self) -> int:
        """Images of a request at most; 0: not declared."""
        return 1 if self.single else self.batch or self.largest


class OpenInferenceSuspect:
    """A model behind the Open Inference Protocol v2 (REST).

    What its metadata declare of the input is obeyed; where the server has none, the input is taken as 32-bit floats,
    or bytes at scale 0-255.

    Args:
        endpoint: `http://HOST/v2/models/NAME` with or without `/infer`.
        input_format: of the images.
        choice: of its tensors.
        shape: (c, h, w) of the kit's images.

    Raises:
        UserError: another path.
    """

    def __init__(
        self, endpoint: Endpoint, input_format: InputFormat, choice: TensorChoice, shape: tuple[int, int, int]
    ) -> None:
        self._endpoint, self._input_format, self._choice, self._shape = endpoint, input_format, choice, shape
        self._declared: TensorInput | None = None
        self._ids = itertools.count(1)
        path = endpoint.path
        if not re.fullmatch(r".*/v2/models/[^/]+(/versions/[^/]+)?(/infer)?/?", path):
            raise UserError(
                f"suspect {endpoint.url}: expected a path /v2/models/NAME, got {path or 'none'}", argument="at"
            )
        if choice.datatype == BYTES:
            check_files(input_format, shape)
        self._path = path.rstrip("/").removesuffix("/infer")
        self._infer = path if path.rstrip("/").endswith("/infer") else f"{self._path}/infer"

    @property
    def certificate(self) -> str:
        """See `Endpoint.certificate`."""
        return self._endpoint.certificate

    @certificate.setter
    def certificate(self, expected: str) -> None:
        self._endpoint.certificate = expected

    def query(self, images: Tensor, timeout: float) -> list[Any]:
        """See `Suspect.query`.

        Raises:
            InputMismatchError: its metadata declare another input than what it would be sent; nothing was sent.
        """
        declared = self._input(timeout)
        n_images, batch = len(images), declared.batch
        if declared.most and n_images > declared.most:
            raise TooLargeError(f"its metadata declare batches of {declared.most}", sent=False, most=declared.most)
        if batch:  # filled up with the last image
            images = torch.cat([images, images[-1:].expand(batch - n_images, *images.shape[1:])])
        tensor, data = self._tensor(images, declared)
        head: dict[str, Any] = {"id": str(next(self._ids))}
        if self._choice.output:
            head["outputs"] = [{"name": self._choice.output}]
        if self._choice.binary:
            head["parameters"] = {"binary_data_output": True}
        body, length = request_body(head, tensor, data, binary=self._choice.binary)
        headers = {HEADER_LENGTH: str(length)} if self._choice.binary else {}
        reply, rest = self._endpoint.post_tensors(body, self._infer, len(images), timeout, headers)
        try:
            outputs = reply.get("outputs") if isinstance(reply, dict) else None
            shape, values = output_values(outputs, self._choice.output, rest)
            return _rows(shape, values, len(images), single=declared.single)[:n_images]
        except ValueError as error:
            raise UnexpectedResponseError(str(error)) from error

    def _tensor(self, images: Tensor, declared: TensorInput) -> tuple[dict[str, Any], bytes]:
        if declared.datatype == BYTES:
            files = png_files(np.ascontiguousarray(self._input_format.pixels(images)))
            shape = [1] if declared.single else [len(files), *([1] * (len(declared.dimensions) - 1))]
            return file_tensor(declared.name, files, shape)
        array = self._input_format.encode(images)
        array = array[0] if declared.single else array
        return array_tensor(declared.name, array, declared.datatype or ("UINT8" if array.dtype == np.uint8 else "FP32"))

    def _input(self, timeout: float) -> TensorInput:
        """What the metadata declare, read once and checked."""
        if self._declared is None:
            found = self._choose(self._endpoint.get(self._path, timeout), timeout)
            self._check_batch(found)
            if found.datatype == BYTES:
                check_files(self._input_format, self._shape)
            elif found.datatype:
                dimensions = (None, *found.dimensions) if found.single else found.dimensions
                check_declared(
                    self._endpoint.url, self._input_format, self._shape, dimensions, DATATYPES[found.datatype]
                )
            self._declared = found
        return self._declared

    def _check_batch(self, found: TensorInput) -> None:
        """A server of a stranger may declare a batch that no memory holds."""
        itemsize = DATATYPES[found.datatype].itemsize if found.datatype in DATATYPES else 1
        size = found.batch * math.prod(self._input_format.array_shape(self._shape)) * itemsize
        if found.batch > MOST_BATCH or size > MOST_BATCH_BYTES:
            raise InputMismatchError(
                f"suspect {self._endpoint.url}: expected a batch of at most {MOST_BATCH:,} images and "
                f"{MOST_BATCH_BYTES >> 20} MiB, its metadata declare {one_line(str(found.batch), 20)} images; serve it "
                "with a smaller one, or write a function that calls it",
                argument="at",
            )

    def _choose(self, metadata: Any, timeout: float) -> TensorInput:
        inputs = metadata.get("inputs") if isinstance(metadata, dict) else None
        wanted = self._choice.input
        if not isinstance(inputs, list) or not inputs or not all(isinstance(one, dict) for one in inputs):
            return TensorInput(wanted or "input", self._choice.datatype)
        names = [one.get("name") for one in inputs]
        chosen = [one for one in inputs if not wanted or one.get("name") == wanted]
        if len(chosen) != 1:
            raise InputMismatchError(
                f"suspect {self._endpoint.url}: expected one input {wanted or 'of images'}, it declares "
                f"{', '.join(map(quoted, names))}; name its input in tensor",
                argument="tensor",
            )
        name, datatype, dimensions = (chosen[0].get(key) for key in ("name", "datatype", "shape"))
        datatype = self._choice.datatype or datatype
        if datatype not in DATATYPES and (datatype != BYTES or self._choice.datatype != BYTES):
            remedy = "give datatype BYTES to send PNG files" if datatype == BYTES else "name another model"
            raise InputMismatchError(
                f"suspect {self._endpoint.url}: expected an input of {', '.join(DATATYPES)}, it declares "
                f"{quoted(datatype)}; {remedy}, or write a function that calls it",
                argument="at" if datatype != BYTES else "datatype",
            )
        if not isinstance(name, str):
            return TensorInput(wanted or "input", datatype)
        sides = tuple(dimensions) if isinstance(dimensions, list) else ()
        single = bool(sides) and datatype != BYTES and len(sides) == len(self._input_format.array_shape(self._shape))
        return TensorInput(name, datatype, sides, single, self._largest(timeout) if sides and not single else 0)

    def _largest(self, timeout: float) -> int:
        """Triton's largest batch, of its extension by which a model tells its configuration; 0 elsewhere."""
        found = self._endpoint.get(f"{self._path}/config", timeout)
        most = found.get("max_batch_size") if isinstance(found, dict) else 0
        return most if type(most) is int and most > 0 else 0


def _rows(shape: list[int], values: list[Any], n_images: int, *, single: bool) -> list[Any]:
    """One response for each image: a value, or a list of them.

    Raises:
        ValueError: an output of another shape.
    """
    if single:
        return [values[0] if len(values) == 1 else values]
    if shape[0] != n_images:
        raise ValueError(f"expected {n_images} responses, got an output of shape {shape}")
    if len(values) == n_images:
        return values
    if len(values) % n_images or not values:
        raise ValueError(f"expected {n_images} rows, got {len(values)} values")
    width = len(values) // n_images
    return [values[i : i + width] for i in range(0, len(values), width)]
