"""A suspect behind MLflow's scoring protocol."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from uapfp_dist.suspects.endpoint import Endpoint, one_per_image
from uapfp_dist.suspects.input_format import InputFormat


class MlflowScoringSuspect:
    """A model served by `mlflow models serve`: takes `{"inputs": ...}`, gives `{"predictions": ...}`.

    Predictions are a list, or lists by name of output (those of an ONNX model): the first of several is used.

    Args:
        url: of the server; `/invocations` is added where it has no path.
        input_format: of the images.
        headers: see `Endpoint`.
    """

    def __init__(self, url: str, input_format: InputFormat, headers: Mapping[str, str]) -> None:
        self._endpoint, self._input_format = Endpoint(url, headers), input_format
        path = self._endpoint.path
        self._path = path if path not in ("", "/") else "/invocations"

    def query(self, images: Tensor, timeout: float) -> list[Any]:
        """See `Suspect.query`."""
        body = {"inputs": self._input_format.encode(images).tolist()}
        reply = self._endpoint.post(body, self._path, len(images), timeout)
        predictions = reply.get("predictions") if isinstance(reply, dict) else reply
        if isinstance(predictions, dict) and predictions:
            predictions = next(iter(predictions.values()))
        return list(one_per_image(predictions, len(images)))
