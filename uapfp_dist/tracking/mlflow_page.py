"""How MLflow's web page shows an experiment and its runs: as model training, with columns that tell runs apart.

Nothing that a user has changed there is overwritten. Whether a page opens as "GenAI" or "Model training", earlier
versions of MLflow 3 read from the experiment's kind; 3.17 asks the browser or the address, so links carry it as well.
"""

import contextlib
import json
import re
from collections.abc import Mapping, Sequence

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

ALL_RUNS = (
    "attributes.Description", "tags.job", "tags.preset", "params.seed", "tags.decided_by", "metrics.victim/accuracy",
    "metrics.auc/homologous", "metrics.auc/other_victim", "metrics.power/conformal",
    "metrics.false_accusation/conformal/homologous", "metrics.false_accusation/conformal/other_victim",
)  # fmt: skip
SUSPECTS = (
    "tags.role", "tags.architecture", "tags.attack", "tags.labels", "tags.modification", "tags.optimizer", "tags.part",
    "tags.claim", "metrics.p_value", "metrics.similarity", "metrics.accuracy",
)  # fmt: skip
VERIFICATIONS = (
    "attributes.Description", "tags.claim", "tags.kit", "tags.decided_by", "tags.format", "metrics.p_value",
    "metrics.queries_sent",
)  # fmt: skip
ENROLLMENTS = ("attributes.Description", "tags.preset", "tags.kit", "params.seed", "params.alpha")
VIEWS: Mapping[str, tuple[str, str, Sequence[str]]] = {
    "uapfp_runs": ("All runs", "", ALL_RUNS),
    "uapfp_suspects": ("Suspects of evaluations", "tags.part != ''", SUSPECTS),
    "uapfp_enrollments": ("Enrolments", "tags.job = 'enroll'", ENROLLMENTS),
    "uapfp_verifications": ("Verifications", "tags.job = 'verify'", VERIFICATIONS),
}
"""Id to name, filter and columns."""


def prepare_page(client: MlflowClient, experiment: Experiment) -> None:
    """Give an experiment its kind, description and views where it has none; a server that refuses is let be."""
    wanted = {KIND[0]: KIND[1], MLFLOW_RUN_NOTE: _experiment_note(experiment.experiment_id)}
    wanted |= {VIEW + key: _view(*view) for key, view in VIEWS.items()}
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
        f"[{name}](#/experiments/{experiment}/runs?{TRAINING}&viewStateShareKey={key})"
        for key, (name, _, _) in VIEWS.items()
    ]
    return f"Fingerprints of models, and who is accused. Lists with their columns: {', '.join(names)}"


def _view(name: str, search: str, columns: Sequence[str]) -> str:
    """As the page saves a view: `attributes.Description` there is written with backticks."""
    quoted = [re.sub(r"^(\w+)\.(.*)$", r"\1.`\2`", column) for column in columns]
    state = {"selectedColumns": quoted, "columnOrder": [], "columnWidths": {}, "searchFilter": search}
    return json.dumps({"name": name, "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)})
