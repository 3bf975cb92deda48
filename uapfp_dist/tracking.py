"""The only module that imports MLflow. One process writes."""

import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from uapfp_dist.errors import UserError

EXPERIMENT = "uapfp_dist"
MOST_PARAMS = 100
"""Of one call to the server."""


class MlflowTracker:
    """An evaluation as a parent run with a nested run per suspect.

    Args:
        uri: tracking server or `sqlite:///...`.
        artifacts: where a new experiment keeps its files, as a URI; None leaves it to a server.

    Raises:
        UserError: no server there.
    """

    def __init__(self, uri: str, artifacts: str | None) -> None:
        self.uri = uri
        self._run = ""
        try:
            self._client = MlflowClient(uri)
            found = self._client.get_experiment_by_name(EXPERIMENT)
            self._experiment = found.experiment_id if found else self._client.create_experiment(EXPERIMENT, artifacts)
        except (MlflowException, SQLAlchemyError, OSError, ValueError) as error:
            cause = (str(error).splitlines() or [""])[0][:200]
            raise UserError(
                f"mlflow: expected a tracking server or database at {uri}, could not reach it ({cause}); "
                "check --mlflow-uri or leave it out for a local database"
            ) from error

    def find(self, evaluation: str) -> str | None:
        """The finished parent run of `evaluation`, if there is one."""
        query = f"tags.evaluation = '{evaluation}' and attributes.status = 'FINISHED'"
        runs = self._client.search_runs([self._experiment], query, max_results=1)
        return runs[0].info.run_id if runs else None

    def begin(self, evaluation: str, params: dict[str, Any], tags: dict[str, str]) -> None:
        """Open the parent run: configuration as parameters, environment as tags."""
        name = f"{tags.get('preset', 'evaluation')}-seed{params.get('seed', '')}"
        run = self._client.create_run(self._experiment, tags={**tags, "evaluation": evaluation}, run_name=name)
        self._run = run.info.run_id
        flat = [Param(key, str(value)[:500]) for key, value in _flatten(params).items()]
        for start in range(0, len(flat), MOST_PARAMS):
            self._client.log_batch(self._run, params=flat[start : start + MOST_PARAMS])
        self._cards: list[dict[str, Any]] = []

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        """Numbers of the parent run."""
        now = int(time.time() * 1000)
        entries = [Metric(key, value, now, step) for key, value in values.items()]
        for start in range(0, len(entries), 500):
            self._client.log_batch(self._run, metrics=entries[start : start + 500])

    def card(self, card: dict[str, Any]) -> None:
        """A trained model: kept for the table of cards, its accuracy plotted as models come."""
        self._cards.append(card)
        self.metrics({"zoo/accuracy": float(card["accuracy"])}, step=len(self._cards))

    def suspect(self, name: str, tags: dict[str, str], metrics: dict[str, float]) -> None:
        """A nested run, finished at once."""
        parent = {"mlflow.parentRunId": self._run}
        filled = {key: value for key, value in tags.items() if value}
        run = self._client.create_run(self._experiment, tags={**parent, **filled}, run_name=name)
        now = int(time.time() * 1000)
        self._client.log_batch(
            run.info.run_id,
            metrics=[Metric(key, value, now, 0) for key, value in metrics.items()],
            tags=[RunTag("suspect", name)],
        )
        self._client.set_terminated(run.info.run_id)

    def folder(self, path: Path) -> None:
        """Files of the parent run; tables also as MLflow tables, which its page can show."""
        self._client.log_artifacts(self._run, str(path))
        for table in sorted((path / "tables").glob("*.csv")):
            frame = pd.read_csv(table)
            if len(frame):
                self._client.log_table(self._run, frame, f"tables/{table.stem}.json")
        if self._cards:
            self._client.log_text(self._run, json.dumps(self._cards, indent=1), "model_cards.json")

    def end(self, status: str) -> str:
        """Close the parent run; returns its id."""
        if self._run:
            self._client.set_terminated(self._run, status)
        return self._run


def _flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        flat |= _flatten(item, f"{name}.") if isinstance(item, dict) else {name: item}
    return flat
