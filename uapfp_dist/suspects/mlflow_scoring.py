"""A suspect behind MLflow's scoring protocol."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from uapfp_dist.suspects.endpoint import Endpoint, one_each
from uapfp_dist.suspects.input_form import InputForm


class MlflowSuspect:
    """A model served by `mlflow models serve`: takes `{"inputs": ...}`, gives `{"predictions": ...}`.

    Predictions are a list, or lists by name of output (those of an ONNX model): of several the first one counts.

    Args:
        url: of the server; `/invocations` is added where it has no path.
        form: of the images.
        headers: see `Endpoint`.
    """

    def __init__(self, url: str, form: InputForm, headers: Mapping[str, str]) -> None:
        self._endpoint, self._form = Endpoint(url, headers), form
        path = self._endpoint.path
        self._path = path if path not in ("", "/") else "/invocations"

    def ask(self, images: Tensor, timeout: float) -> list[Any]:
        """See `Suspect.ask`."""
        body = {"inputs": self._form.encode(images).tolist()}
        found = self._endpoint.post(body, self._path, len(images), timeout)
        predictions = found.get("predictions") if isinstance(found, dict) else found
        if isinstance(predictions, dict) and predictions:
            predictions = next(iter(predictions.values()))
        return list(one_each(predictions, len(images)))
