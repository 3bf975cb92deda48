"""A suspect behind the Open Inference Protocol v2 (KServe, Triton, MLServer)."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.endpoint import Endpoint, one_each
from uapfp_dist.suspects.input_form import InputForm
from uapfp_dist.suspects.suspect import TransientError


class OipSuspect:
    """A model behind the Open Inference Protocol v2 (REST, JSON).

    Args:
        url: `http://HOST/v2/models/NAME` with or without `/infer`.
        form: of the images.
        headers: see `Endpoint`.
        tensor: name of the model's input.

    Raises:
        UserError: no such path.
    """

    def __init__(self, url: str, form: InputForm, headers: Mapping[str, str], tensor: str) -> None:
        self._endpoint, self._form, self._tensor = Endpoint(url, headers), form, tensor
        if not re.fullmatch(r".*/v2/models/[^/]+(/versions/[^/]+)?(/infer)?/?", self._endpoint.path):
            raise UserError(
                f"suspect {self._endpoint.url}: expected a path /v2/models/NAME, got {self._endpoint.path or 'none'}"
            )
        self._path = self._endpoint.path.rstrip("/").removesuffix("/infer") + "/infer"

    def ask(self, images: Tensor, timeout: float) -> list[Any]:
        """See `Suspect.ask`. Of several outputs the first one counts."""
        array = self._form.encode(images)
        tensor = {
            "name": self._tensor,
            "shape": list(array.shape),
            "datatype": "UINT8" if array.dtype == np.uint8 else "FP32",
            "data": array.ravel().tolist(),
        }
        found = self._endpoint.post({"inputs": [tensor]}, self._path, len(images), timeout)
        try:
            output = found["outputs"][0]
            shape, data = output["shape"], output["data"]
        except (KeyError, IndexError, TypeError) as error:
            raise TransientError("an answer without outputs") from error
        if not isinstance(data, list) or not isinstance(shape, list) or not shape or shape[0] != len(images):
            raise TransientError(f"expected {len(images)} answers, got an output of another shape")
        if len(data) == len(images):
            return data
        width = len(data) // len(images)
        return list(one_each([data[i : i + width] for i in range(0, len(data), width or 1)], len(images)))
