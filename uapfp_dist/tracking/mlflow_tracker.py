"""An MLflow tracker."""

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from alembic.util import CommandError
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS, MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE
from sqlalchemy.exc import SQLAlchemyError

from uapfp_dist.config.runtime import EXPERIMENT
from uapfp_dist.errors import UserError
from uapfp_dist.tracking.mlflow_experiment import open_experiment
from uapfp_dist.tracking.mlflow_page import prepare_page, report_path, run_address, run_note
from uapfp_dist.tracking.tracker import DESCRIPTION, NAME, RunParams

Value = TypeVar("Value")

ERRORS = (MlflowException, SQLAlchemyError, CommandError, OSError, ValueError, ImportError)
"""What MLflow raises about its server or database."""
TRANSIENT_STATUSES = {408, 425, 429, 500, 502, 503, 504}
"""HTTP statuses that may change; MLflow's errors without a response count as 500."""
PARAMS_PER_REQUEST = 100
METRICS_PER_REQUEST = 500
RUNS_PER_PAGE = 1000
FLUSH_SECONDS = 5.0
"""After which the points of a curve are sent, several in one request."""


class MlflowTracker:
    """An evaluation as a parent run with a nested run per suspect.

    Every method writes only what differs from the server's state: an evaluation has one run, however often it was
    interrupted, and an incomplete run is completed. No request is sent before `start_run` or `find_run`. Several jobs
    may open a new server or database at once.

    Args:
        uri: tracking server or `sqlite:///...`.
        artifacts: URI where a new experiment keeps its files; None: the server decides.
        experiment: its name.
        variable: of the environment, from which `uri` came; for messages.

    Raises:
        UserError: (all methods) no tracking server or database, or one that refuses.
        ConnectionError: (all methods) it does not respond now, or not in a useful way.
    """

    def __init__(
        self, uri: str, artifacts: str | None, experiment: str = EXPERIMENT, variable: str | None = None
    ) -> None:
        self.uri = uri
        self._artifacts, self._experiment_name, self._variable = artifacts, experiment, variable
        self._client: Any = None
        self._experiment = ""
        self._run = self._files = ""
        self._metrics: dict[str, float] = {}
        self._logged_steps: dict[str, set[int]] = {}
        self._pending: list[Metric] = []
        self._flushed_at = 0.0
        self._nested_runs: dict[str, _NestedRun] | None = None

    def find_run(self, evaluation: str, publication: str) -> str | None:
        """The id of the finished run of `evaluation` that shows exactly this publication, if there is one."""
        with self._translated_errors():
            self._open_experiment()
            for run in self._runs(f"tags.evaluation = '{evaluation}' and attributes.status = 'FINISHED'"):
                if run.data.tags.get("publication") == publication:
                    self._run, self._files = str(run.info.run_id), str(run.info.artifact_uri)
                    return self._run
        return None

    def start_run(self, evaluation: str, params: RunParams, tags: Mapping[str, str]) -> None:
        """Open the run of an evaluation, or resume it."""
        flat = _flatten(params)
        name, description = tags.get(NAME) or _run_name(evaluation, params, tags), tags.get(DESCRIPTION, "")
        shown = {key: value for key, value in tags.items() if value and key not in (NAME, DESCRIPTION)}
        shown["evaluation"] = evaluation
        with self._translated_errors():
            self._open_experiment()
            run = self._resumable_run(evaluation, flat)
            if run is None:
                run = self._create_run(name, shown)
            elif run.info.status != "RUNNING":
                self._client.update_run(run.info.run_id, status="RUNNING")
            self._run, self._files, self._metrics = run.info.run_id, run.info.artifact_uri, dict(run.data.metrics)
            self._logged_steps, self._pending, self._nested_runs = {}, [], None
            missing = {key: value for key, value in flat.items() if key not in run.data.params}
            self._log_params(missing)
            self._set_tags(self._run, _changed(shown | self._note(description), run.data.tags))

    def describe(self, description: str) -> None:
        """The description of the run."""
        with self._translated_errors():
            self._set_tags(self._run, self._note(description))

    def page(self) -> str:
        """The address of the page of the run that was opened or found; without a server the path of its report."""
        if self._run and self.uri.startswith("http"):
            return run_address(self.uri, self._experiment, self._run)
        return report_path(self._files)

    def refresh_metrics(self, metrics: Mapping[str, float]) -> None:
        """Those of `metrics` that the run has already: earlier code showed more of them."""
        self.log_metrics({key: value for key, value in metrics.items() if key in self._metrics})

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Metrics of the run; with a step above 0 one point of a curve each."""
        with self._translated_errors():
            if step:
                changed = {key: value for key, value in metrics.items() if step not in self._steps(key)}
            else:
                changed = _changed(metrics, self._metrics)
                self._metrics |= changed
            now = int(time.time() * 1000)
            self._pending += [Metric(key, value, now, step) for key, value in changed.items()]
            for key in changed if step else ():
                self._steps(key).add(step)
            if not step or time.monotonic() - self._flushed_at > FLUSH_SECONDS:
                self._flush()

    def log_model(self, accuracy: float, number: int | None = None) -> None:
        """A trained model: its accuracy as a point of a curve, by its number in the plan."""
        with self._translated_errors():
            step = len(self._steps("zoo/accuracy")) + 1 if number is None else number
        self.log_metrics({"zoo/accuracy": accuracy}, step)

    def log_suspect(self, name: str, tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """A nested run, finished at once; identified by its tag `model`, else by its name."""
        wanted = {**{key: value for key, value in tags.items() if value}, "suspect": name}
        with self._translated_errors():
            nested, key = self._nested(), wanted.get("model", name)
            if key not in nested:
                tags = {**wanted, MLFLOW_PARENT_RUN_ID: self._run}
                nested[key] = _NestedRun(self._client.create_run(self._experiment, tags=tags, run_name=name))
            run = nested[key]
            self._set_tags(run.id, _changed(wanted, run.tags))
            now, changed = int(time.time() * 1000), _changed(metrics, run.metrics)
            if changed:
                self._client.log_batch(run.id, [Metric(key, value, now, 0) for key, value in changed.items()])
            if not run.finished:
                self._client.set_terminated(run.id)
            run.finished, run.tags, run.metrics = True, run.tags | wanted, {**run.metrics, **metrics}

    def log_files(self, folder: Path) -> None:
        """All files of a folder; those in `tables` also as MLflow tables, which its page shows."""
        shown = []
        for table in sorted((folder / "tables").glob("*.csv")):
            frame = pd.read_csv(table)
            if len(frame):  # log_table would append to the rows of an interrupted job
                frame.to_json(table.with_suffix(".json"), orient="split", index=False, date_format="iso")
                shown.append({"path": f"tables/{table.stem}.json", "type": "table"})
        with self._translated_errors((Exception,)):  # file stores raise exceptions of their own libraries
            self._client.log_artifacts(self._run, str(folder))
            self._client.set_tag(self._run, MLFLOW_LOGGED_ARTIFACTS, json.dumps(shown))

    def end_run(self, status: str) -> str:
        """Close the run; returns its id."""
        if self._run:
            with self._translated_errors():
                self._flush()
                self._nested_runs = None
                self._nested()  # removes duplicates of requests whose response was lost
                self._client.set_terminated(self._run, status)
        return self._run

    def _open_experiment(self) -> None:
        self._client, experiment = open_experiment(self.uri, self._experiment_name, self._artifacts)
        self._experiment = str(experiment.experiment_id)
        prepare_page(self._client, experiment)

    def _note(self, description: str) -> dict[str, str]:
        """The tag of a description, if there is one."""
        return {MLFLOW_RUN_NOTE: run_note(description, self._experiment, self._run)} if description else {}

    def _resumable_run(self, evaluation: str, params: Mapping[str, str]) -> Run | None:
        """The run of `evaluation` that agrees with `params`: a finished one, else the latest."""
        runs = self._runs(f"tags.evaluation = '{evaluation}'")
        agreeing = [run for run in runs if all(params.get(k, v) == v for k, v in run.data.params.items())]
        return min(agreeing, key=lambda run: (run.info.status != "FINISHED", -run.info.start_time), default=None)

    def _create_run(self, name: str, tags: Mapping[str, str]) -> Run:
        """A new run, once: the client repeats a request whose response was lost, and the server may serve both."""
        attempt = uuid.uuid4().hex
        self._client.create_run(self._experiment, tags={**tags, "attempt": attempt}, run_name=name)
        run, *duplicates = self._runs(f"tags.attempt = '{attempt}'")
        for duplicate in duplicates:
            self._client.delete_run(duplicate.info.run_id)
        return run

    def _nested(self) -> "dict[str, _NestedRun]":
        """The nested runs by key; of duplicates the finished one stays."""
        if self._nested_runs is None:
            self._nested_runs = {}
            runs = self._runs(f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{self._run}'")
            for run in sorted(runs, key=lambda run: (run.info.status != "FINISHED", run.info.start_time)):
                nested = _NestedRun(run)
                if self._nested_runs.setdefault(nested.key, nested) is not nested:
                    self._client.delete_run(nested.id)
        return self._nested_runs

    def _runs(self, query: str) -> list[Run]:
        """All runs that match."""
        found: list[Run] = []
        token = None
        while True:
            page = self._client.search_runs([self._experiment], query, max_results=RUNS_PER_PAGE, page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def _steps(self, key: str) -> set[int]:
        """Steps at which the run has a value of the metric `key`."""
        if key not in self._logged_steps:
            history = self._client.get_metric_history(self._run, key) if key in self._metrics else []
            self._logged_steps[key] = {point.step for point in history}
        return self._logged_steps[key]

    def _flush(self) -> None:
        for start in range(0, len(self._pending), METRICS_PER_REQUEST):
            self._client.log_batch(self._run, metrics=self._pending[start : start + METRICS_PER_REQUEST])
        self._pending, self._flushed_at = [], time.monotonic()

    def _log_params(self, params: Mapping[str, str]) -> None:
        entries = [Param(key, value) for key, value in params.items()]
        for start in range(0, len(entries), PARAMS_PER_REQUEST):
            self._client.log_batch(self._run, params=entries[start : start + PARAMS_PER_REQUEST])

    def _set_tags(self, run: str, tags: Mapping[str, str]) -> None:
        if tags:
            self._client.log_batch(run, tags=[RunTag(key, value) for key, value in tags.items()])

    @contextmanager
    def _translated_errors(self, errors: tuple[type[Exception], ...] = ERRORS) -> Iterator[None]:
        """Errors of MLflow as ConnectionError, if they may pass, or UserError, in one line."""
        try:
            yield
        except errors as error:
            cause = _cause(error)
            where = f"{self.uri} (from {self._variable})" if self._variable else self.uri
            if self._is_transient(error):
                raise ConnectionError(f"mlflow: {where} does not respond ({cause})") from error
            leave = f"unset {self._variable}" if self._variable else "leave it out"
            raise UserError(
                f"mlflow: expected a tracking server or database at {where}, could not use it ({cause}); "
                f"check the URI or {leave} for a local database",
                argument="mlflow_uri",
            ) from error

    def _is_transient(self, error: Exception) -> bool:
        """Whether a retry may help; not where a database file cannot even be opened, unless others write to it."""
        if not self._experiment and (self.uri.startswith("sqlite:") or isinstance(error, ImportError)):
            return "database is locked" in _cause(error)
        return error.get_http_status_code() in TRANSIENT_STATUSES if isinstance(error, MlflowException) else True


class _NestedRun:
    """The server's state of a nested run."""

    def __init__(self, run: Run) -> None:
        self.id: str = run.info.run_id
        self.finished = run.info.status == "FINISHED"
        self.tags: dict[str, str] = dict(run.data.tags)
        self.metrics: dict[str, float] = dict(run.data.metrics)
        self.key = self.tags.get("model", self.tags.get("suspect", ""))


def _cause(error: BaseException) -> str:
    """The first line of the innermost error that has words: MLflow wraps those of the system."""
    while error.__context__ is not None and not isinstance(error.__context__, KeyError):
        error = error.__context__
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _run_name(evaluation: str, params: RunParams, tags: Mapping[str, str]) -> str:
    """Of a run that was given none."""
    return f"{tags.get('preset', 'evaluation')}-" + (f"seed{params['seed']}" if "seed" in params else evaluation[:6])


def _changed(wanted: Mapping[str, Value], present: Mapping[str, Value]) -> dict[str, Value]:
    return {key: value for key, value in wanted.items() if present.get(key) != value}


def _flatten(params: RunParams, prefix: str = "") -> dict[str, str]:
    """Names with dots, values as text of at most MLflow's 500 characters."""
    flat: dict[str, str] = {}
    for key, item in params.items():
        name = f"{prefix}{key}"
        flat |= _flatten(item, f"{name}.") if isinstance(item, dict) else {name: str(item)[:500]}
    return flat
