"""Everything that does not change a result: storage, data, workers, Ray, MLflow."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.models import ARCHITECTURES
from uapfp_dist.models.architecture_names import is_published
from uapfp_dist.models.custom import is_import_path

EXPERIMENT = "uapfp_dist"
"""Of MLflow, unless another is named."""


@dataclass(frozen=True)
class RuntimeConfig:
    """Everything that does not change a result."""

    storage: str | None = None
    """Folder or fsspec URL of artifacts (default: $UAPFP_STORAGE or ./results). Running again resumes from it."""
    data_root: Path | None = None
    """Folder of the images (default: $UAPFP_DATA); not needed for digits."""
    workers: int | None = None
    """Worker processes at most (default: as many as there is room for); 0: no Ray. Nodes that join later are used,
    too; 0 runs everything in this process."""
    gpus_per_worker: float | None = None
    """GPU share of each worker (default: by architecture where the cluster has GPUs, a quarter for A-E, half of one for
    the paper's larger nets, a whole one for others, else 0). Above 0 on a cluster that has no GPU yet asks its
    autoscaler for them; 0 runs everything on CPUs, encoders too."""
    gpu_shares: tuple[str, ...] = ()
    """GPU shares of single architectures, where those defaults do not suit your GPUs, as NAME=SHARE: resnet18=1 A=0.1.
    A model that is extracted or modified has the share of the largest net that it is made from."""
    address: str | None = None
    """Ray cluster to use (default: $RAY_ADDRESS, else a local one). A local one ends with the job."""
    mlflow_uri: str | None = None
    """MLflow tracking URI (default: $MLFLOW_TRACKING_URI, else a sqlite file). The file lies beside the artifacts."""
    mlflow_experiment: str = EXPERIMENT
    """Name of the MLflow experiment; it is made where there is none. MLflow's own variables for it are not read."""
    report: Path | None = None
    """Also write the report as JSON to this file."""
    spec_timeout: float | None = None
    """Seconds after which one model counts as hung (default: an hour for the small nets A-E, a day for larger ones)."""
    max_hours: float | None = None
    """Refuse to start if what is left to do will take longer (default: no limit). The time is estimated from stored
    models, or from a few steps of training; for each of several seeds alone, and without the encoders of a grid."""


@dataclass(frozen=True)
class FilesConfig:
    """What a script needs that runs in one process and has no page in MLflow."""

    storage: str | None = None
    """Folder or fsspec URL of artifacts (default: $UAPFP_STORAGE or ./results)."""
    data_root: Path | None = None
    """Folder of the images (default: $UAPFP_DATA); not needed for digits."""
    report: Path | None = None
    """Also write the report as JSON to this file."""

    @property
    def runtime(self) -> RuntimeConfig:
        """In this process."""
        return RuntimeConfig(self.storage, self.data_root, workers=0, report=self.report)


@dataclass(frozen=True)
class ResolvedPaths:
    """RuntimeConfig with every default filled in."""

    storage: str
    data_root: Path | None
    mlflow_uri: str
    artifacts: str | None
    report: Path | None
    mlflow_experiment: str = EXPERIMENT
    mlflow_variable: str | None = None
    """The environment variable that `mlflow_uri` came from."""

    @property
    def mlflow_is_here(self) -> bool:
        """Whether MLflow is a file that other nodes may lack: outside the storage, which all of them have."""
        uri = self.mlflow_uri
        if uri.startswith("sqlite"):
            file = Path(uri.partition("://")[2].removeprefix("/"))
            return "://" in self.storage or not file.is_relative_to(self.storage)
        return uri.startswith("file:") or not ("://" in uri or uri.startswith("databricks"))


def resolve(runtime: RuntimeConfig) -> ResolvedPaths:
    """Fill in the defaults; in a submitted job, which works in a copy that is deleted, relative paths begin at home."""
    base = Path.home() / "uapfp_dist" if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ else Path.cwd()
    storage = (runtime.storage or os.environ.get("UAPFP_STORAGE") or "results").removeprefix("file://")
    if "://" not in storage:
        storage = str(base / Path(storage).expanduser())
    root = runtime.data_root or (Path(os.environ["UAPFP_DATA"]) if os.environ.get("UAPFP_DATA") else None)
    variable = "MLFLOW_TRACKING_URI" if not runtime.mlflow_uri and os.environ.get("MLFLOW_TRACKING_URI") else None
    uri = os.environ[variable] if variable else runtime.mlflow_uri
    if uri is None and "://" in storage:
        raise UserError(
            f"mlflow_uri: with storage at {storage} expected a tracking URI, got none; name a tracking server",
            argument="mlflow_uri",
        )
    uri = _from(base, uri) if uri else f"sqlite:///{storage}/mlflow.db"
    # MLflow's own default for a database is ./mlruns of whoever writes: in a submitted job, a folder that is deleted.
    beside = uri.startswith("sqlite:") and "://" not in storage
    return ResolvedPaths(
        storage,
        (base / root.expanduser()).resolve() if root else None,
        uri,
        Path(storage, "mlflow-artifacts").as_uri() if beside else None,
        base / runtime.report.expanduser() if runtime.report else None,
        runtime.mlflow_experiment,
        variable,
    )


def _from(base: Path, uri: str) -> str:
    """A URI whose database file, where it is relative, begins at `base`: other processes have other folders."""
    file = uri.removeprefix("sqlite:///")
    relative = file != uri and file and not file.startswith(("/", ":memory:", "file:"))
    return f"sqlite:///{base / file}" if relative else uri


def check_runtime(runtime: RuntimeConfig) -> None:
    """Refuse settings that cannot work.

    Raises:
        UserError: a number out of range, or settings that exclude each other.
    """
    if runtime.workers is not None and runtime.workers < 0:
        raise UserError(
            f"workers: expected 0 (no Ray) or more, got {runtime.workers}; leave it out for one per CPU or GPU",
            argument="workers",
        )
    if not runtime.mlflow_experiment.strip():
        raise UserError(
            f"mlflow_experiment: expected a name, got {runtime.mlflow_experiment!r}; leave it out for {EXPERIMENT}",
            argument="mlflow_experiment",
        )
    if runtime.gpus_per_worker is not None and not runtime.gpus_per_worker >= 0:
        raise UserError(
            f"gpus_per_worker: expected 0 (CPU) or a share of a GPU, got {runtime.gpus_per_worker:g}",
            argument="gpus_per_worker",
        )
    if (gpu_shares(runtime) or runtime.gpus_per_worker) and runtime.workers == 0:
        raise UserError(
            "workers: expected 1 or more with shares of GPUs, got 0, which is this process; leave one out",
            argument="workers",
        )
    if runtime.address is not None and runtime.workers == 0:
        raise UserError(
            f"address: expected none with workers 0, which is this process, got {runtime.address}; leave one out",
            argument="address",
        )
    if runtime.spec_timeout is not None and not runtime.spec_timeout > 0:
        raise UserError(
            f"spec_timeout: expected seconds above 0, got {runtime.spec_timeout:g}", argument="spec_timeout"
        )
    if runtime.max_hours is not None and not runtime.max_hours > 0:
        raise UserError(f"max_hours: expected hours above 0, got {runtime.max_hours:g}", argument="max_hours")


def gpu_shares(runtime: RuntimeConfig) -> dict[str, float]:
    """Architecture to its share of a GPU, of those that were given.

    Raises:
        UserError: not of the form NAME=SHARE, an unknown name, or no share.
    """
    if runtime.gpu_shares and runtime.gpus_per_worker is not None:
        raise UserError(
            "gpu_shares: expected without gpus_per_worker, which is for all nets, got both; leave one out",
            argument="gpu_shares",
        )
    found = {}
    for text in runtime.gpu_shares:
        name, _, share = text.rpartition("=")
        try:
            found[name] = float(share)
        except ValueError:
            found[name] = math.nan
        if not (name and 0 < found[name] < math.inf):
            raise UserError(
                f"gpu_shares: expected NAME=SHARE with a share above 0, got {text!r}; such as resnet18=0.5",
                argument="gpu_shares",
            )
        if not (is_import_path(name) or is_published(name) or name in ARCHITECTURES):
            raise unknown_name("architecture", name, ARCHITECTURES, argument="gpu_shares")
    return found
