"""What `mlflow models serve` runs for `uapfp serve`: a net from safetensors, responding in one form, counting images.

A model from code: nothing is pickled. Everything it needs comes with it in `model_config` and `artifacts`.
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from safetensors.torch import load_file

from uapfp_dist.models import build
from uapfp_dist.models.blackbox import labels_given, predict_probabilities
from uapfp_dist.models.custom import CustomNet, is_import_path


class ServedModel(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
    """A net of `uapfp_dist.models`, or of the owner's code."""

    def load_context(self, context: Any) -> None:
        """Once, before the first request."""
        torch.set_num_threads(1)
        config = context.model_config
        name, shape, n_classes = config["architecture"], tuple(config["shape"]), config["n_classes"]
        self._output, self._counts = config["output"], Path(config["counts"])
        self._net = (
            CustomNet(name, shape, n_classes).eval()
            if is_import_path(name)
            else build(name, shape, n_classes, config["width"], 0, torch.device("cpu"))
        )
        self._net.load_state_dict(load_file(context.artifacts["weights"]))

    def predict(self, context: Any, model_input: np.ndarray, params: Any = None) -> list[Any]:
        """(B, c, h, w) in [0, 1] to B rows of probabilities, or B labels, null where the net gives NaN.

        MLflow warns of an input without a type hint, or with one that it makes no schema of.
        """
        images = torch.from_numpy(np.asarray(model_input, dtype=np.float32))
        with self._counts.open("a") as file:
            file.write(f"{len(images)}\n")
        found = predict_probabilities(self._net, images)
        rows: list[Any] = labels_given(found) if self._output == "label" else found.tolist()
        return rows


mlflow.models.set_model(ServedModel())
