"""What `mlflow models serve` runs for serve.py: a net from safetensors, answering in one form, counting images.

A model from code: nothing is pickled. Everything it needs comes with it in `model_config` and `artifacts`.
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from safetensors.torch import load_file

from uapfp_dist.models import build
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.models.custom import CustomNet, is_import_path


class Served(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
    """A net of `science.zoo`, or of the owner's code."""

    def load_context(self, context: Any) -> None:
        """Once, before the first question."""
        torch.set_num_threads(1)
        self._config = context.model_config
        shape, n_classes, width = self._config["shape"], self._config["n_classes"], self._config["width"]
        name, shape = self._config["architecture"], tuple(shape)
        own = is_import_path(name)
        self._net = (
            CustomNet(name, shape, n_classes).eval()
            if own
            else build(name, shape, n_classes, width, 0, torch.device("cpu"))
        )
        self._net.load_state_dict(load_file(context.artifacts["weights"]))

    def predict(self, context: Any, model_input: Any, params: Any = None) -> list[Any]:
        """(B, c, h, w) in [0, 1] to B rows of probabilities, or B labels."""
        images = torch.from_numpy(np.asarray(model_input, dtype=np.float32))
        with Path(self._config["counts"]).open("a") as file:
            file.write(f"{len(images)}\n")
        found = predict_probabilities(self._net, images)
        rows: list[Any] = (found.argmax(1) if self._config["output"] == "label" else found).tolist()
        return rows


mlflow.models.set_model(Served())
