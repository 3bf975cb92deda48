"""How to open what a command has put into MLflow."""

import shlex

from uapfp_dist.config.runtime import RuntimeConfig, resolve


def mlflow_hint(runtime: RuntimeConfig, what: str) -> str:
    """Two lines: the page, and where in it `what` is."""
    paths = resolve(runtime)
    served = paths.mlflow_uri.startswith("http")
    opened = paths.mlflow_uri if served else f"mlflow ui --backend-store-uri {shlex.quote(paths.mlflow_uri)}"
    where = f"experiment {paths.mlflow_experiment}, 'Model training', Runs; report.html is among a run's artifacts"
    return f"{what}: {opened}\n(in the page: {where})"
