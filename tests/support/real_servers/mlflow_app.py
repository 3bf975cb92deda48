"""MLflow's scoring server: arrays as `inputs` or `instances`, files in a column of a `dataframe_split`."""

import os
import sys
import tempfile
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import toy_model


class Toy(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined, misc]
    """The toy."""

    def predict(self, context: Any, model_input, params: Any = None) -> Any:  # type: ignore[no-untyped-def]
        """Rows of probabilities."""
        if isinstance(model_input, pd.DataFrame):
            return np.array([toy_model.of_base64(text) for text in model_input["image"]]).tolist()
        return toy_model.probabilities(model_input).tolist()


if __name__ == "__main__":
    model = os.path.join(tempfile.mkdtemp(), "model")
    mlflow.pyfunc.save_model(model, python_model=Toy(), pip_requirements=[])
    serve = ["-m", "mlflow", "models", "serve", "-m", model, "-p", os.environ["PORT"], "--env-manager", "local"]
    os.execv(sys.executable, [sys.executable, *serve])
