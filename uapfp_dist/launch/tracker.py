"""The MLflow tracker of a run."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from uapfp_dist.config.runtime import ResolvedPaths
from uapfp_dist.tracking.tracker import Tracker


def open_tracker(paths: ResolvedPaths) -> Tracker:
    """MLflow as the runtime configuration says; nothing is sent yet."""
    return mlflow_tracker(paths.mlflow_uri, paths.artifacts, paths.mlflow_experiment, paths.mlflow_variable)


def mlflow_tracker(uri: str, artifacts: str | None, experiment: str, variable: str | None) -> Tracker:
    """MLflow, which waits about a minute for a server and prints little; arguments as of `MlflowTracker`."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # else two lines per suspect
    from uapfp_dist.tracking.mlflow_tracker import MlflowTracker  # two seconds of import

    # They set their own levels when imported. The errors of a database are raised as well.
    levels = {"alembic": logging.WARNING, "mlflow": logging.WARNING, "mlflow.store.db": logging.CRITICAL}
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    return MlflowTracker(uri, artifacts, experiment, variable)


@contextmanager
def closing_run(close: Callable[[str], Any]) -> Iterator[None]:
    """Call `close` with the status that the block ends with: FINISHED, FAILED or KILLED."""
    try:
        yield
    except KeyboardInterrupt:
        close("KILLED")
        raise
    except BaseException:
        close("FAILED")
        raise
    close("FINISHED")
