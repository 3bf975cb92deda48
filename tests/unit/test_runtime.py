"""Where a run finds storage, data and MLflow."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from system import tiny_plan

from uapfp_dist.cluster import central_evaluator, session
from uapfp_dist.cluster.session import ClusterResources
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.data import Dataset
from uapfp_dist.launch.evaluation import EvaluationRun
from uapfp_dist.storage.store import Store

S3 = "s3://bucket/results"


@pytest.mark.parametrize(
    ("uri", "storage", "here"),
    [
        (None, "/shared/results", False),
        ("sqlite:////shared/results/mlflow.db", "/shared/results", False),
        ("sqlite:////home/me/mlflow.db", "/shared/results", True),
        ("sqlite+pysqlite:////home/me/mlflow.db", "/shared/results", True),
        ("sqlite:///mlflow.db", "/shared/results", True),
        ("sqlite:////home/me/mlflow.db", S3, True),
        ("file:///home/me/mlruns", "/shared/results", True),
        ("mlruns", S3, True),
        ("http://tracking:5000", S3, False),
        ("https://tracking", "/shared/results", False),
        ("postgresql://me@database/mlflow", S3, False),
        ("databricks", S3, False),
        ("databricks://profile", S3, False),
    ],
)
def test_mlflow_is_a_file_of_this_machine(
    uri: str | None, storage: str, here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One beside the artifacts is seen wherever they are."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve(RuntimeConfig(storage=storage, mlflow_uri=uri)).mlflow_is_here == here


@pytest.mark.parametrize("submitted", [False, True])
@pytest.mark.parametrize("by_variable", [False, True])
def test_relative_paths_begin_at_home_in_a_submitted_job(
    submitted: bool, by_variable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which works in a copy that is deleted; else they begin where the command is run."""
    home, here = tmp_path / "home", tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    for variable in ("UAPFP_STORAGE", "UAPFP_DATA", "RAY_JOB_CONFIG_JSON_ENV_VAR"):
        monkeypatch.delenv(variable, raising=False)
    if submitted:
        monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    if by_variable:
        monkeypatch.setenv("UAPFP_DATA", "images")
    given = None if by_variable else Path("images")
    paths = resolve(RuntimeConfig(storage="results", data_root=given, report=Path("report.json")))
    base = home / "uapfp_dist" if submitted else here
    assert paths.storage == str(base / "results")
    assert paths.report == base / "report.json"
    assert paths.data_root == base / "images"
    assert resolve(RuntimeConfig(mlflow_uri="sqlite:///mine/ml.db")).mlflow_uri == f"sqlite:///{base}/mine/ml.db"
    for uri in ("sqlite:////mine/ml.db", "sqlite:///:memory:", "sqlite://", "http://tracking:5000"):
        assert resolve(RuntimeConfig(mlflow_uri=uri)).mlflow_uri == uri
    assert resolve(RuntimeConfig(data_root=Path("/images"))).data_root == Path("/images")
    assert resolve(RuntimeConfig(data_root=Path("~/images"))).data_root == home / "images"


class StartedError(Exception):
    """The evaluator has its arguments; nothing is trained."""


@pytest.mark.parametrize(
    ("uri", "bound"), [("sqlite:////home/me/mlflow.db", "MLflow is a file there, sqlite:////home"), (None, "")]
)
def test_an_evaluator_on_ray_is_told_that_mlflow_is_such_a_file(
    uri: str | None, bound: str, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def connected(address: str | None) -> Iterator[ClusterResources]:
        yield ClusterResources(2, 1.0, elastic=True)

    def evaluator(*arguments: object) -> None:
        raise StartedError(arguments[-1])

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(session, "session", connected)
    monkeypatch.setattr(central_evaluator, "CentralEvaluator", evaluator)
    monkeypatch.setattr(EvaluationRun, "_begin", lambda self, room: None)
    runtime = RuntimeConfig(storage=str(tmp_path), mlflow_uri=uri, address="10.0.0.1:6379")
    run = EvaluationRun(tiny_plan(), "digits", digits, Store(str(tmp_path)), resolve(runtime), runtime)
    with pytest.raises(StartedError) as started:
        run._on_ray({})
    assert str(started.value).startswith(bound)
    assert bool(str(started.value)) == bool(bound)
