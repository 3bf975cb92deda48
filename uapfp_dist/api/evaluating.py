"""A whole evaluation, on Ray, from Python."""

from collections.abc import Sequence
from pathlib import Path

from uapfp_dist.config.methods import DEFAULT, with_methods
from uapfp_dist.config.presets import preset as preset_named
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.config.schema import Config
from uapfp_dist.launch.evaluation import run
from uapfp_dist.reporting.report_schema import EvaluationReport


def evaluate(
    preset: str = "digits",
    *,
    seed: int = 0,
    config: Config | None = None,
    methods: Sequence[str] = (DEFAULT,),
    storage: Path | str | None = None,
    data_root: Path | str | None = None,
    workers: int | None = None,
    address: str | None = None,
    mlflow_uri: str | None = None,
    runtime: RuntimeConfig | None = None,
) -> EvaluationReport:
    """Train a zoo, extract models, fingerprint all, judge every suspect: `uapfp evaluate`. A second call resumes.

    Progress and a summary are printed; tables, figures and a page go to MLflow. In a script, call it below
    `if __name__ == "__main__":`.

    Args:
        preset: digits (about two minutes on a laptop), fashion_mnist-small, cifar10-small, ...
        seed: of every random choice.
        config: in place of the preset's; make one with `dataclasses.replace`.
        methods: fingerprint methods to compare: default, all, or names; `verdict.methods` of `config` count in their
            place where they are others than the preset's.
        storage: folder or URL of the artifacts; None: $UAPFP_STORAGE, else ./results.
        data_root: folder of the images; None: $UAPFP_DATA. Not needed for digits.
        workers: processes at most; None: what the cluster has room for; 0: this process, without Ray.
        address: of the Ray cluster; None: $RAY_ADDRESS, else a local one that ends with the call.
        mlflow_uri: MLflow tracking URI; None: $MLFLOW_TRACKING_URI, else a file beside the artifacts.
        runtime: all of these and more at once; the five before it are then not read.

    Returns:
        the report: `.auc[method][format][group]`, `.verdicts`, `.power`, `.false_accusation`, ...

    Raises:
        UserError: anything wrong with the input; a victim that cannot be made.
    """
    places = runtime or RuntimeConfig(
        storage=None if storage is None else str(storage),
        data_root=None if data_root is None else Path(data_root),
        workers=workers,
        address=address,
        mlflow_uri=mlflow_uri,
    )
    chosen = with_methods(config or preset_named(preset), preset, tuple(methods))
    return run(chosen, preset, seed, places)
