"""A net as a model of MLflow, from code and safetensors, and the server that serves it."""

import os
import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

QUIET = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "PYTHONWARNINGS": "ignore",
    "UVICORN_LOG_LEVEL": "error",
}
"""Environment of MLflow here and in its server: errors are shown, how it gets there is not."""


@dataclass(frozen=True)
class ServedNet:
    """What `served_model` must know of a net."""

    architecture: str
    width: int
    shape: tuple[int, int, int]
    """(c, h, w)."""
    n_classes: int


def package(net: ServedNet, weights: dict[str, Tensor], output: str, folder: Path) -> Path:
    """A model in MLflow's form, as code and safetensors; returns its folder.

    Args:
        net: what the weights are of.
        weights: its state.
        output: `probabilities` or `label`.
        folder: a new one; `counts` in it will hold a line per request, the number of its images.
    """
    folder.mkdir(parents=True)
    save_file(weights, folder / "weights.safetensors")
    os.environ |= QUIET
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow  # two seconds that --help should not wait for

        mlflow.pyfunc.save_model(
            folder / "model",
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={"weights": str(folder / "weights.safetensors")},
            model_config={**asdict(net), "output": output, "counts": str((folder / "counts").absolute())},
            pip_requirements=[],
        )
    return folder / "model"


def server_command(model: Path, port: int) -> list[str]:
    """MLflow's scoring server for `model`, on this machine alone, in this environment."""
    serve = ("-m", "mlflow", "models", "serve", "--env-manager", "local", "-m", str(model))
    return [sys.executable, *serve, "-h", "127.0.0.1", "-p", str(port)]
