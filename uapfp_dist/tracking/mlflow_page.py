"""How MLflow's web page shows an experiment and its runs: as model training, with columns that tell runs apart.

Nothing that a user has changed there is overwritten. Whether a page opens as "GenAI" or "Model training", earlier
versions of MLflow 3 read from the experiment's kind; 3.17 asks the browser or the address, so links carry it as well.
"""

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE
from sqlalchemy.exc import SQLAlchemyError

KIND = ("mlflow.experimentKind", "custom_model_development")
"""Tag of an experiment, and the value for model training."""
VIEW = "mlflow.sharedViewState."
"""Beginning of the tags that hold views of the list of runs, which the page offers under "Views"."""
TRAINING = "workflowType=machine_learning"
"""In an address: "Model training"."""
UI = "http://127.0.0.1:5000"
"""Where `mlflow ui` serves a database unless told otherwise."""
MOST_LETTERS = 7500
"""Of a description: MLflow keeps 8000 of a tag."""
LINK = re.compile(r"(!?)\[([^\]\n]*)\]\(artifact:([^)\s]+)\)")

Columns = Mapping[str, int]
"""What a list shows, in this order, to the width in pixels."""

ALL_RUNS: Columns = {
    "tags.job": 70, "tags.preset": 90, "params.seed": 55, "tags.answer": 210, "tags.decided_by": 90,
    "metrics.victim/accuracy": 100, "metrics.auc/homologous": 110, "metrics.power/conformal": 115,
    "metrics.auc/other_victim": 110, "metrics.false_accusation/conformal/homologous": 110,
}  # fmt: skip
SUSPECTS: Columns = {
    "tags.role": 150, "tags.claim": 110, "metrics.p_value": 90, "metrics.similarity": 90, "metrics.accuracy": 90,
    "tags.architecture": 90, "tags.attack": 110, "tags.labels": 80, "tags.modification": 150, "tags.optimizer": 90,
    "tags.part": 90,
}  # fmt: skip
VERIFICATIONS: Columns = {
    "tags.answer": 430, "tags.claim": 110, "metrics.p_value": 90, "tags.decided_by": 120, "tags.format": 90,
    "metrics.queries_sent": 100, "tags.kit": 150,
}  # fmt: skip
ENROLLMENTS: Columns = {"tags.preset": 150, "tags.answer": 500, "params.alpha": 70, "tags.kit": 200}


@dataclass(frozen=True)
class View:
    """A list of runs, as the page offers it."""

    name: str
    columns: Columns
    search: str = ""
    order: str = "attributes.start_time"
    """Descending. Other lists than by time do not fold nested runs."""

    def saved(self) -> str:
        """As the page saves it."""
        columns = {_quoted(column): width for column, width in self.columns.items()}
        state = {
            "selectedColumns": list(columns),
            "columnOrder": list(columns),
            "columnWidths": columns,
            "searchFilter": self.search,
            "orderByKey": _quoted(self.order) if "start_time" not in self.order else self.order,
            "orderByAsc": False,
        }
        return json.dumps({"name": self.name, "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)})


VIEWS: Mapping[str, View] = {
    "uapfp_runs": View("All runs", ALL_RUNS),
    "uapfp_suspects": View("Judged suspects", SUSPECTS, "tags.claim != '' and tags.part != ''", "tags.role"),
    "uapfp_enrollments": View("Enrolments", ENROLLMENTS, "tags.job = 'enroll'"),
    "uapfp_verifications": View("Verifications", VERIFICATIONS, "tags.job = 'verify'"),
}
"""Id to view."""


def prepare_page(client: MlflowClient, experiment: Experiment) -> None:
    """Give an experiment its kind, description and views where it has none; a server that refuses is let be."""
    wanted = {KIND[0]: KIND[1], MLFLOW_RUN_NOTE: _experiment_note(experiment.experiment_id)}
    wanted |= {VIEW + key: view.saved() for key, view in VIEWS.items()}
    with contextlib.suppress(MlflowException, SQLAlchemyError):
        for key, value in wanted.items():
            if key not in experiment.tags:
                client.set_experiment_tag(experiment.experiment_id, key, value)


def run_address(uri: str, experiment: str, run: str) -> str:
    """Of a run's page, of a database's as `mlflow ui` serves it."""
    base = uri.rstrip("/") if uri.startswith("http") else UI
    return f"{base}/{_run_page(experiment, run)}?{TRAINING}"


def run_note(markdown: str, experiment: str, run: str) -> str:
    """A run's description: `artifact:PATH` in images and links becomes the address of that file of the run.

    Addresses are relative, so that they hold behind a proxy and whatever the host is called.
    """

    def resolved(found: re.Match[str]) -> str:
        image, text, path = found.groups()
        served = f"get-artifact?path={path}&run_uuid={run}"
        shown = f"{_run_page(experiment, run)}/artifacts/{path}?{TRAINING}"
        return f"{image}[{text}]({served if image else shown})"

    text = LINK.sub(resolved, markdown)
    if len(text) <= MOST_LETTERS:
        return text
    return text[:MOST_LETTERS].rsplit("\n", 1)[0] + "\n\n(cut; the rest is among the artifacts)"


def _run_page(experiment: str, run: str) -> str:
    return f"#/experiments/{experiment}/runs/{run}"


def _experiment_note(experiment: str) -> str:
    names = [
        f"[{view.name}](#/experiments/{experiment}/runs?{TRAINING}&viewStateShareKey={key})"
        for key, view in VIEWS.items()
    ]
    return f"Fingerprints of models, and who is accused. Lists with their columns: {', '.join(names)}"


def _quoted(column: str) -> str:
    kind, _, name = column.partition(".")
    return f"{kind}.`{name}`"


def report_path(artifacts: str) -> str:
    """Where the report.html of a run lies by the URI of its artifacts; empty if there is none on this machine."""
    folder = urlsplit(artifacts)
    path = Path(url2pathname(folder.path), "report.html")
    return str(path) if folder.scheme in ("", "file") and path.is_file() else ""
