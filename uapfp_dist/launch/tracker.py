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
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # else two lines per suspect
    from uapfp_dist.tracking.mlflow_tracker import MlflowTracker  # two seconds of import

    for name in ("alembic", "mlflow"):  # they set their own levels when imported
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowTracker(paths.mlflow_uri, paths.artifacts)


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
