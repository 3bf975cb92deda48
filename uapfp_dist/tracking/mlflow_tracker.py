"""The only module that imports MLflow. One process writes; whatever it writes twice is there once."""

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS, MLFLOW_PARENT_RUN_ID
from sqlalchemy.exc import SQLAlchemyError

from uapfp_dist.errors import UserError

EXPERIMENT = "uapfp_dist"
ERRORS = (MlflowException, SQLAlchemyError, OSError, ValueError, ImportError)
"""What MLflow raises about its server or database."""
PASSING = {408, 425, 429, 500, 502, 503, 504}
"""Codes of answers that may be others later; MLflow's own errors without an answer count as 500."""
MOST_PARAMS = 100
"""Of one call to the server; also of tags."""
MOST_METRICS = 500
PAGE = 1000
"""Runs in one answer of the server."""
FLUSH_SECONDS = 5.0
"""Points of a curve are sent together, but not later than this."""


class MlflowTracker:
    """An evaluation as a parent run with a nested run per suspect.

    Every method compares what is there with what is wanted and writes the difference: an evaluation has one run,
    however often it was interrupted, and a run that is half there is completed. Nothing is asked of the server before
    `begin` or `find`.

    Args:
        uri: tracking server or `sqlite:///...`.
        artifacts: where a new experiment keeps its files, as a URI; None leaves it to a server.

    Raises:
        UserError: (all methods) what is there is no tracking server or database, or it refuses.
        ConnectionError: (all methods) it does not answer, or not in a useful way: later it may.
    """

    def __init__(self, uri: str, artifacts: str | None) -> None:
        self.uri = uri
        self._artifacts = artifacts
        self._client: Any = None
        self._experiment = ""
        self._run = ""
        self._metrics: dict[str, float] = {}
        self._curves: dict[str, set[int]] = {}
        self._waiting: list[Metric] = []
        self._sent = 0.0
        self._nested: dict[str, _Child] | None = None

    def find(self, evaluation: str, publication: str) -> str | None:
        """The finished run of `evaluation` if it shows just this publication."""
        with self._reaching():
            self._open()
            for run in self._runs(f"tags.evaluation = '{evaluation}' and attributes.status = 'FINISHED'"):
                if run.data.tags.get("publication") == publication:
                    return str(run.info.run_id)
        return None

    def begin(self, evaluation: str, params: dict[str, Any], tags: dict[str, str]) -> None:
        """Open the evaluation's run, or go on with the one there is: configuration as parameters, the rest as tags."""
        flat = {key: str(value)[:500] for key, value in _flatten(params).items()}
        tags = {key: value for key, value in {**tags, "evaluation": evaluation}.items() if value}
        with self._reaching():
            self._open()
            run = self._found(evaluation, flat)
            if run is None:
                run = self._create(f"{tags.get('preset', 'evaluation')}-seed{params.get('seed', '')}", tags)
            elif run.info.status != "RUNNING":
                self._client.update_run(run.info.run_id, status="RUNNING")
            self._run, self._metrics = run.info.run_id, dict(run.data.metrics)
            self._curves, self._waiting, self._nested = {}, [], None
            missing = {key: value for key, value in flat.items() if key not in run.data.params}
            self._describe(self._run, missing, _news(tags, run.data.tags))

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        """Numbers of the run; with a step, points of a curve, one for each step."""
        with self._reaching():
            if step:
                fresh = {key: value for key, value in values.items() if step not in self._curve(key)}
            else:
                fresh = _news(values, self._metrics)
                self._metrics |= fresh
            now = int(time.time() * 1000)
            self._waiting += [Metric(key, value, now, step) for key, value in fresh.items()]
            for key in fresh if step else ():
                self._curve(key).add(step)
            if not step or time.monotonic() - self._sent > FLUSH_SECONDS:
                self._flush()

    def card(self, card: dict[str, Any]) -> None:
        """A trained model: its accuracy as a point of a curve, at its place in the plan."""
        with self._reaching():
            step = int(card.get("number", len(self._curve("zoo/accuracy")) + 1))
        self.metrics({"zoo/accuracy": float(card["accuracy"])}, step)

    def suspect(self, name: str, tags: dict[str, str], metrics: dict[str, float]) -> None:
        """A nested run, finished at once; known by its tag `model`, else by its name."""
        wanted = {**{key: value for key, value in tags.items() if value}, "suspect": name}
        with self._reaching():
            children, key = self._children(), wanted.get("model", name)
            if key not in children:
                tags = {**wanted, MLFLOW_PARENT_RUN_ID: self._run}
                children[key] = _Child(self._client.create_run(self._experiment, tags=tags, run_name=name))
            child = children[key]
            self._describe(child.run, {}, _news(wanted, child.tags))
            now, news = int(time.time() * 1000), _news(metrics, child.metrics)
            if news:
                self._client.log_batch(child.run, [Metric(key, value, now, 0) for key, value in news.items()])
            if not child.finished:
                self._client.set_terminated(child.run)
            child.finished, child.tags, child.metrics = True, child.tags | wanted, child.metrics | metrics

    def folder(self, path: Path) -> None:
        """Files of the run; those in `tables` also as MLflow tables, which its page can show."""
        shown = []
        for table in sorted((path / "tables").glob("*.csv")):
            frame = pd.read_csv(table)
            if len(frame):  # log_table would append to what an interrupted job has left
                frame.to_json(table.with_suffix(".json"), orient="split", index=False, date_format="iso")
                shown.append({"path": f"tables/{table.stem}.json", "type": "table"})
        with self._reaching((Exception,)):  # libraries of the servers' file stores let their own errors through
            self._client.log_artifacts(self._run, str(path))
            self._client.set_tag(self._run, MLFLOW_LOGGED_ARTIFACTS, json.dumps(shown))

    def end(self, status: str) -> str:
        """Close the run; returns its id."""
        if self._run:
            with self._reaching():
                self._flush()
                self._nested = None
                self._children()  # a request whose answer was lost may have been served twice
                self._client.set_terminated(self._run, status)
        return self._run

    def _open(self) -> None:
        if self._experiment:
            return
        self._client = MlflowClient(self.uri)
        found = self._client.get_experiment_by_name(EXPERIMENT)
        self._experiment = found.experiment_id if found else self._client.create_experiment(EXPERIMENT, self._artifacts)

    def _found(self, evaluation: str, params: Mapping[str, str]) -> Run | None:
        """The run of `evaluation`, if one agrees with `params`: a finished one, else the latest."""
        runs = self._runs(f"tags.evaluation = '{evaluation}'")
        agreeing = [run for run in runs if all(params.get(k, v) == v for k, v in run.data.params.items())]
        return min(agreeing, key=lambda run: (run.info.status != "FINISHED", -run.info.start_time), default=None)

    def _create(self, name: str, tags: Mapping[str, str]) -> Run:
        """A new run, once: a request whose answer was lost is sent again, and may have been served twice."""
        attempt = uuid.uuid4().hex
        self._client.create_run(self._experiment, tags={**tags, "attempt": attempt}, run_name=name)
        run, *twins = self._runs(f"tags.attempt = '{attempt}'")
        for twin in twins:
            self._client.delete_run(twin.info.run_id)
        return run

    def _children(self) -> "dict[str, _Child]":
        """The nested runs by what they are known by; of twins the one that is finished stays."""
        if self._nested is None:
            self._nested = {}
            runs = self._runs(f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{self._run}'")
            for run in sorted(runs, key=lambda run: (run.info.status != "FINISHED", run.info.start_time)):
                child = _Child(run)
                if self._nested.setdefault(child.key, child) is not child:
                    self._client.delete_run(child.run)
        return self._nested

    def _runs(self, query: str) -> list[Run]:
        """All runs that match, page by page."""
        found: list[Run] = []
        token = None
        while True:
            page = self._client.search_runs([self._experiment], query, max_results=PAGE, page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def _curve(self, key: str) -> set[int]:
        """Steps at which the run has points of `key`."""
        if key not in self._curves:
            history = self._client.get_metric_history(self._run, key) if key in self._metrics else []
            self._curves[key] = {point.step for point in history}
        return self._curves[key]

    def _flush(self) -> None:
        for start in range(0, len(self._waiting), MOST_METRICS):
            self._client.log_batch(self._run, metrics=self._waiting[start : start + MOST_METRICS])
        self._waiting, self._sent = [], time.monotonic()

    def _describe(self, run: str, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        entries = [Param(key, value) for key, value in params.items()]
        for start in range(0, len(entries), MOST_PARAMS):
            self._client.log_batch(run, params=entries[start : start + MOST_PARAMS])
        if tags:
            self._client.log_batch(run, tags=[RunTag(key, value) for key, value in tags.items()])

    @contextmanager
    def _reaching(self, errors: tuple[type[Exception], ...] = ERRORS) -> Iterator[None]:
        """Say in one line what went wrong with the server, and whether to wait for it."""
        try:
            yield
        except errors as error:
            cause = _cause(error)
            if self._away(error):
                raise ConnectionError(f"mlflow: {self.uri} does not answer ({cause})") from error
            raise UserError(
                f"mlflow: expected a tracking server or database at {self.uri}, could not use it ({cause}); "
                "check --mlflow-uri or leave it out for a local database"
            ) from error

    def _away(self, error: Exception) -> bool:
        """Whether it may pass. A database file that cannot even be opened is none."""
        if not self._experiment and (self.uri.startswith("sqlite:") or isinstance(error, ImportError)):
            return False
        return error.get_http_status_code() in PASSING if isinstance(error, MlflowException) else True


class _Child:
    """What is known of a nested run."""

    def __init__(self, run: Run) -> None:
        self.run: str = run.info.run_id
        self.finished = run.info.status == "FINISHED"
        self.tags: dict[str, str] = dict(run.data.tags)
        self.metrics: dict[str, float] = dict(run.data.metrics)
        self.key = self.tags.get("model", self.tags.get("suspect", ""))


def _cause(error: BaseException) -> str:
    """Its first line, or that of what lies at the bottom of it: MLflow wraps what the system said in its own words."""
    while error.__context__ is not None:
        error = error.__context__
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _news(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Any]:
    """What is wanted and not there."""
    return {key: value for key, value in wanted.items() if there.get(key) != value}


def _flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        flat |= _flatten(item, f"{name}.") if isinstance(item, dict) else {name: item}
    return flat
