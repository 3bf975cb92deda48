"""What MLflow's page shows of an experiment and of a run: kind, lists, descriptions."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from uapfp_dist.tracking.mlflow_page import KIND, MOST_LETTERS, VIEW, VIEWS, prepare_page, run_address, run_note
from uapfp_dist.tracking.mlflow_tracker import MlflowTracker
from uapfp_dist.tracking.tracker import DESCRIPTION, NAME, where_shown

NOTE = "mlflow.note.content"


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests: creating it takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


def tags_of(uri: str, experiment: str) -> dict[str, str]:
    """Of an experiment."""
    found = MlflowClient(uri).get_experiment_by_name(experiment)
    assert found is not None
    return dict(found.tags)


def opened(uri: str, experiment: str) -> MlflowTracker:
    """A tracker with a run in it."""
    tracker = MlflowTracker(uri, None, experiment)
    tracker.start_run("e", {}, {})
    return tracker


# --- the experiment


def test_an_experiment_says_that_it_is_model_training(uri: str) -> None:
    opened(uri, "new")
    tags = tags_of(uri, "new")
    assert tags[KIND[0]] == "custom_model_development"
    assert {VIEW + key for key in VIEWS} <= tags.keys()
    assert all(f"viewStateShareKey={key}" in tags[NOTE] for key in VIEWS)


def test_an_experiment_of_before_gets_what_it_lacks_and_keeps_what_a_user_chose(uri: str) -> None:
    client = MlflowClient(uri)
    bare, chosen = client.create_experiment("bare"), client.create_experiment("chosen")
    own = {KIND[0]: "genai_development", NOTE: "mine", VIEW + "uapfp_runs": "{}"}
    for key, value in own.items():
        client.set_experiment_tag(chosen, key, value)
    assert KIND[0] not in client.get_experiment(bare).tags
    for name in ("bare", "chosen"):
        opened(uri, name)
    assert tags_of(uri, "bare")[KIND[0]] == KIND[1]
    found = tags_of(uri, "chosen")
    assert {key: found[key] for key in own} == own
    assert VIEW + "uapfp_suspects" in found


def test_what_is_there_is_not_sent_again_and_a_refusal_stops_nobody(uri: str) -> None:
    opened(uri, "quiet")

    class Refusing(MlflowClient):
        sent = 0

        def set_experiment_tag(self, experiment_id: str, key: str, value: object) -> None:
            self.sent += 1
            raise MlflowException("not you")

    client = Refusing(uri)
    experiment = client.get_experiment_by_name("quiet")
    assert experiment is not None
    prepare_page(client, experiment)
    assert client.sent == 0
    bare = client.get_experiment(client.create_experiment("refused"))
    prepare_page(client, bare)
    assert client.sent == 1, "it refuses the others as well"


@pytest.mark.parametrize("key", VIEWS)
def test_a_view_is_what_the_page_reads(key: str) -> None:
    """An envelope with a name and times, whose state is JSON in a string; every column has its width."""
    envelope = json.loads(VIEWS[key].saved())
    assert envelope["name"] == VIEWS[key].name
    assert isinstance(envelope["createdAt"], int)
    state = json.loads(envelope["state"])
    assert state["selectedColumns"] == state["columnOrder"] == list(state["columnWidths"])
    assert all(column.partition(".")[0] in ("tags", "params", "metrics") for column in state["selectedColumns"])
    assert all(column.endswith("`") for column in state["selectedColumns"])


@pytest.mark.parametrize("key", VIEWS)
def test_a_view_finds_its_runs(key: str, uri: str) -> None:
    """MLflow itself reads the filter: a run of each job, a judged suspect of an evaluation and of a verification."""
    name = f"found by {key}"
    for job in ("evaluate", "ablate", "enroll", "verify"):
        tracker = MlflowTracker(uri, None, name)
        tracker.start_run(job, {}, {"job": job})
        if job in ("evaluate", "verify"):
            own = {"part": "test"} if job == "evaluate" else {"job": job}
            tracker.log_suspect(f"suspect of {job}", {"claim": "piracy", **own}, {})
        tracker.end_run("FINISHED")
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], VIEWS[key].search)
    names = sorted(str(run.data.tags.get("suspect", run.data.tags.get("evaluation"))) for run in found)
    assert (
        names
        == {
            "uapfp_runs": ["ablate", "enroll", "evaluate", "suspect of evaluate", "suspect of verify", "verify"],
            "uapfp_suspects": ["suspect of evaluate"],
            "uapfp_enrollments": ["enroll"],
            "uapfp_verifications": ["suspect of verify", "verify"],
        }[key]
    )


# --- a run


def test_a_run_has_its_name_and_description(uri: str, tmp_path: Path) -> None:
    """Pictures are served by the same server, links stay within the page; both are relative."""
    text = (
        "**Yes.**\n\n![answer](artifact:figures/answer.png)\n\n[all](artifact:report.html) [else](https://example.org)"
    )
    tracker = MlflowTracker(uri, (tmp_path / "files").as_uri(), "described")
    tracker.start_run("e", {"seed": 3}, {"job": "verify", NAME: "verify shop", DESCRIPTION: text})
    tracker.end_run("FINISHED")
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("described")
    assert experiment is not None
    number = experiment.experiment_id
    (run,) = client.search_runs([number])
    key = run.info.run_id
    assert run.info.run_name == "verify shop"
    assert {NAME, DESCRIPTION}.isdisjoint(run.data.tags)
    assert run.data.tags[NOTE] == (
        f"**Yes.**\n\n![answer](get-artifact?path=figures/answer.png&run_uuid={key})\n\n"
        f"[all](#/experiments/{number}/runs/{key}/artifacts/report.html?workflowType=machine_learning) "
        "[else](https://example.org)"
    )
    assert tracker.page() == ""  # no server shows it, and it has no report yet
    report = tmp_path / "files" / key / "artifacts" / "report.html"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.touch()
    assert where_shown(tracker.page()) == f"Page of the report: {report}"


def test_a_description_is_replaced_and_never_doubled(uri: str) -> None:
    """Progress while it runs, the answer at the end; who resumes a run without a word leaves it."""
    for text in ("", "first", "", "second"):
        tracker = MlflowTracker(uri, None, "replaced")
        tracker.start_run("e", {}, {DESCRIPTION: text} if text else {})
        tracker.describe("in progress" if text == "first" else "")
        tracker.end_run("FINISHED")
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("replaced")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.tags[NOTE] == "second"


def test_only_what_a_run_has_is_refreshed(uri: str) -> None:
    """Earlier code showed more metrics: they must not go stale, and a run of today does not get them."""
    tracker = MlflowTracker(uri, None, "refreshed")
    tracker.start_run("e", {}, {})
    tracker.log_metrics({"auc/uap/hard/homologous": 0.5})
    tracker.refresh_metrics({"auc/uap/hard/homologous": 0.75, "auc/uap/prob/homologous": 1.0})
    tracker.end_run("FINISHED")
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("refreshed")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics == {"auc/uap/hard/homologous": 0.75}


def test_a_long_description_ends_with_a_whole_line() -> None:
    text = run_note("\n".join(f"- {i:05d}" for i in range(5000)), "1", "r")
    assert MOST_LETTERS - 100 < len(text) < 8000
    *lines, _, cut = text.splitlines()
    assert all(len(line) == 7 for line in lines)
    assert cut.startswith("(cut;")
    assert run_note("short", "1", "r") == "short"


@pytest.mark.parametrize(
    ("uri", "base"),
    [
        ("sqlite:////data/mlflow.db", "http://127.0.0.1:5000/"),
        ("https://mlflow.example/prefix/", "https://mlflow.example/prefix/"),
    ],
)
def test_the_address_of_a_run(uri: str, base: str) -> None:
    assert run_address(uri, "7", "abc") == f"{base}#/experiments/7/runs/abc?workflowType=machine_learning"
