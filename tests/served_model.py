"""What `mlflow models serve` runs in test_verify.py: a net from safetensors, answering in one form, counting images.

Models from code: nothing is pickled. The file of weights, the form and the file of counts come with the model.
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from safetensors.torch import load_file

from uapfp_dist.science.blackbox import ask
from uapfp_dist.science.zoo import build


class Served(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
    """Architecture A."""

    def load_context(self, context: Any) -> None:
        """Once, before the first question."""
        self._config = context.model_config
        self._net = build("A", (1, 8, 8), 10, int(self._config["width"]), 0, torch.device("cpu"))
        self._net.load_state_dict(load_file(context.artifacts["weights"]))

    def predict(self, context: Any, model_input: Any, params: Any = None) -> list[Any]:
        """(B, 1, 8, 8) to B rows of probabilities, or B labels."""
        images = torch.from_numpy(np.asarray(model_input, dtype=np.float32))
        with Path(self._config["counts"]).open("a") as file:
            file.write(f"{len(images)}\n")
        found = ask(self._net, images)
        rows: list[Any] = (found.argmax(1) if self._config["output"] == "label" else found).tolist()
        return rows


mlflow.models.set_model(Served())
