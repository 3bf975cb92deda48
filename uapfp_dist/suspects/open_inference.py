"""A suspect behind the Open Inference Protocol v2 (KServe, Triton, MLServer)."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.endpoint import Endpoint, one_per_image
from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.suspects.suspect import TransientError


class OpenInferenceSuspect:
    """A model behind the Open Inference Protocol v2 (REST, JSON).

    Args:
        url: `http://HOST/v2/models/NAME` with or without `/infer`.
        input_format: of the images.
        headers: see `Endpoint`.
        tensor: name of the model's input.

    Raises:
        UserError: another path.
    """

    def __init__(self, url: str, input_format: InputFormat, headers: Mapping[str, str], tensor: str) -> None:
        self._endpoint, self._input_format, self._tensor = Endpoint(url, headers), input_format, tensor
        if not re.fullmatch(r".*/v2/models/[^/]+(/versions/[^/]+)?(/infer)?/?", self._endpoint.path):
            raise UserError(
                f"suspect {self._endpoint.url}: expected a path /v2/models/NAME, got {self._endpoint.path or 'none'}",
                argument="at",
            )
        self._path = self._endpoint.path.rstrip("/").removesuffix("/infer") + "/infer"

    def query(self, images: Tensor, timeout: float) -> list[Any]:
        """See `Suspect.query`. The first of several outputs is used."""
        array = self._input_format.encode(images)
        tensor = {
            "name": self._tensor,
            "shape": list(array.shape),
            "datatype": "UINT8" if array.dtype == np.uint8 else "FP32",
            "data": array.ravel().tolist(),
        }
        reply = self._endpoint.post({"inputs": [tensor]}, self._path, len(images), timeout)
        try:
            output = reply["outputs"][0]
            shape, data = output["shape"], output["data"]
        except (KeyError, IndexError, TypeError) as error:
            raise TransientError("a response without outputs") from error
        if not isinstance(data, list) or not isinstance(shape, list) or not shape or shape[0] != len(images):
            raise TransientError(f"expected {len(images)} responses, got an output of another shape")
        if len(data) == len(images):
            return data
        width = len(data) // len(images)
        return list(one_per_image([data[i : i + width] for i in range(0, len(data), width or 1)], len(images)))
