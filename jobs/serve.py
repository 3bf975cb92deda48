"""Serve a model of a kit's zoo as a stranger would serve it, to see a verification work before it matters.

    python jobs/serve.py --kit kit                      # a stolen model that the kit was not fitted on
    python jobs/serve.py --kit kit --group homologous   # one that is not stolen
    python jobs/verify.py --kit kit --at http://127.0.0.1:5000 --out verdict       # in another terminal

MLflow's scoring server, on this machine alone; Ctrl-C ends it. The kit's models must still be in the storage.
"""

import os
import sys
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import tyro
from safetensors.torch import save_file
from torch import Tensor

from uapfp_dist.command import main
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.errors import UserError
from uapfp_dist.models.custom import is_import_path
from uapfp_dist.storage.store import Store
from uapfp_dist.verification.kit.info import KitModel
from uapfp_dist.verification.kit.io import load_kit
from uapfp_dist.verification.kit.kit import Kit

QUIET = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "PYTHONWARNINGS": "ignore",
    "UVICORN_LOG_LEVEL": "error",
}
"""Environment of MLflow here and in its server: errors are shown, how it gets there is not."""


@dataclass(frozen=True)
class Serve:
    """Serve a held-out model of a kit."""

    kit: Path = Path("kit")
    """The kit that enroll.py made."""
    group: Literal["piracy", "homologous", "same_data", "other_victim", "sibling"] = "piracy"
    """What the model is."""
    index: int = 0
    """Which of those that neither trained nor calibrated the kit."""
    output: Literal["probabilities", "label"] = "probabilities"
    """Its responses."""
    architecture: str | None = None
    """package.module:factory, where the kit is of a model of your own: named again here, because its code will run."""
    port: int = 5000
    """Of 127.0.0.1."""
    storage: str | None = None
    """Folder or fsspec URL of artifacts (default: $UAPFP_STORAGE, else ./results)."""
    folder: Path | None = None
    """Where the served model and its count of images (`counts`) are, a new folder (default: a temporary one)."""


@dataclass(frozen=True)
class ServedNet:
    """What `served_model.py` must know of a net."""

    architecture: str
    width: int
    shape: tuple[int, int, int]
    """(c, h, w)."""
    n_classes: int


def job() -> None:
    """Package, then become the server."""
    chosen = tyro.cli(Serve, args=sys.argv[1:], description=__doc__)
    kit = load_kit(chosen.kit)
    row = chosen_row(kit, chosen.group, chosen.index)
    if is_import_path(row.architecture) and row.architecture != chosen.architecture:
        raise UserError(
            f"architecture: the kit names code, {row.architecture!r:.80}, that would be imported and run; if it is "
            "yours, name it too",
            argument="architecture",
        )
    store = Store(resolve(RuntimeConfig(storage=chosen.storage, mlflow_uri="none")).storage)
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="uapfp-served-")) / "it"
    if folder.exists():
        raise UserError(f"folder: expected a new folder, {folder} is there already; choose another", argument="folder")
    model = package(net_of(row, kit), weights_of(row, store), chosen.output, folder)
    how = f"stolen by {row.attack} with {row.labels} labels" if row.attack else row.group
    print(f"serving {row.model}: {row.architecture}, {how}; http://127.0.0.1:{chosen.port}, Ctrl-C ends", flush=True)
    # MLflow starts further programs of this environment, which need not be activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    os.execve(sys.executable, command(model, chosen.port), {**os.environ, "PATH": path})


def chosen_row(kit: Kit, group: str, index: int) -> KitModel:
    """What the kit says of the model.

    Raises:
        UserError: the kit holds out fewer.
    """
    rows = [row for row in kit.info.models if row.part == "test" and row.group == group]
    if not 0 <= index < len(rows):
        raise UserError(
            f"index: expected 0 to {len(rows) - 1}, the {group} models this kit holds out, got {index}",
            argument="index",
        )
    return rows[index]


def weights_of(row: KitModel, store: Store) -> dict[str, Tensor]:
    """Its weights.

    Raises:
        UserError: they are not in the storage.
    """
    if not store.intact("model", row.model):
        raise UserError(
            f"storage {store.url}: expected model {row.model} of the kit, it is not there; name the kit's own",
            argument="storage",
        )
    return {name: tensor.contiguous() for name, tensor in store.get("model", row.model).tensors.items()}


def net_of(row: KitModel, kit: Kit) -> ServedNet:
    """What `package` must know of a model of the kit.

    Raises:
        UserError: the kit does not say how its models were made.
    """
    width = (kit.info.configuration or {}).get("zoo", {}).get("width")
    if not isinstance(width, int):
        raise UserError("kit: expected the configuration that its models were made by, it has none", argument="kit")
    return ServedNet(row.architecture, width, kit.shape, kit.n_classes)


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


def command(model: Path, port: int) -> list[str]:
    """MLflow's scoring server for `model`, on this machine alone, in this environment."""
    serve = ("-m", "mlflow", "models", "serve", "--env-manager", "local", "-m", str(model))
    return [sys.executable, *serve, "-h", "127.0.0.1", "-p", str(port)]


if __name__ == "__main__":
    main(job)
