"""The experiment that runs go to, opened while other jobs may be making it."""

import random
import re
import shlex
import time

from mlflow import MlflowClient
from mlflow.entities import Experiment, LifecycleStage
from mlflow.exceptions import MlflowException

from uapfp_dist.errors import UserError
from uapfp_dist.messages import one_line
from uapfp_dist.tracking.mlflow_database import first_start

RACE = re.compile(
    "already exists|duplicate|no such table|relation .* does not exist|expected to match one row|out-of-date database"
    "|deadlock|could not serialize|locked",
    re.IGNORECASE,
)
"""What a database says whose tables are being made by another process, or that others write to."""
HALF_MADE = re.compile("already exists|duplicate|no such table|expected to match one row", re.IGNORECASE)
"""The same of a database whose tables nobody is making any more."""
RACE_SECONDS = 120.0
"""For which a database is opened again after such an error."""
STALLED_SECONDS = 10.0
"""The same while the error stays the same: nobody is making the tables."""
PAUSE_SECONDS = (0.2, 1.0)
"""Between two tries, at random: several processes wait for each other."""


def open_experiment(uri: str, name: str, artifacts: str | None) -> tuple[MlflowClient, Experiment]:
    """A client of `uri` and the experiment, which is made where there is none.

    Args:
        uri: an MLflow tracking URI.
        name: of the experiment.
        artifacts: URI where a new experiment keeps its files; None: the server decides.

    Raises:
        UserError: the experiment was deleted.
        MlflowException, SQLAlchemyError, CommandError, OSError, ValueError, ImportError: as MLflow says it.
    """
    started = since = time.monotonic()
    last = ""
    while True:
        try:
            with first_start(uri):
                client = MlflowClient(uri)
                return client, _active(_experiment(client, name, artifacts), uri)
        except UserError:
            raise
        except Exception as error:
            now, said = time.monotonic(), str(error)
            if said != last:
                since, last = now, said
            database = not uri.startswith("http")
            if not (database and RACE.search(said)):
                raise
            if now - since > STALLED_SECONDS or now - started > RACE_SECONDS:
                if HALF_MADE.search(said):
                    raise _half_made(uri, error) from error
                raise
        time.sleep(random.uniform(*PAUSE_SECONDS))


def _half_made(uri: str, error: Exception) -> UserError:
    return UserError(
        f"mlflow: expected a database with MLflow's tables at {uri}, found some of them ({one_line(error)}): a program "
        "was killed while it made them; move that database away, or name another",
        argument="mlflow_uri",
    )


def _experiment(client: MlflowClient, name: str, artifacts: str | None) -> Experiment:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return found
    try:
        made = client.create_experiment(name, artifacts)
    except MlflowException as error:
        found = client.get_experiment_by_name(name) if error.error_code == "RESOURCE_ALREADY_EXISTS" else None
        if found is None:
            raise
        return found  # another job was faster
    return client.get_experiment(made)


def _active(experiment: Experiment, uri: str) -> Experiment:
    """The same.

    Raises:
        UserError: it was deleted.
    """
    if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
        restore = f"mlflow experiments restore --experiment-id {experiment.experiment_id}"
        raise UserError(
            f"mlflow: expected the experiment {experiment.name} at {uri}, it was deleted there; restore it with "
            f"`MLFLOW_TRACKING_URI={shlex.quote(uri)} {restore}`, or name another experiment",
            argument="mlflow_experiment",
        )
    return experiment
