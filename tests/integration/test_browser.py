"""The pages of `mlflow ui` in a headless browser, with screenshots.

UAPFP_RESULTS: a storage folder with an mlflow.db to look at, instead of a tiny evaluation made here.
UAPFP_SCREENSHOTS: where screenshots go (default: a temporary folder).
"""

import html
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from system import ProcessTree, environment, free_ports, job

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here (Debian: apt-get install chromium)"),
]

QUIET = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
HEADLESS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--window-size=1600,1000", *QUIET]


@dataclass(frozen=True)
class Site:
    """A running `mlflow ui` and what its database says."""

    address: str
    experiment: str
    parent: Run
    children: tuple[Run, ...]
    figures: tuple[str, ...]
    shots: Path

    @property
    def parent_page(self) -> str:
        """The page of the evaluation's run."""
        return f"experiments/{self.experiment}/runs/{self.parent.info.run_id}"


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an evaluation's mlflow.db."""
    if given := os.environ.get("UAPFP_RESULTS"):
        return Path(given).expanduser().resolve()
    with job(tmp_path_factory.mktemp("browser"), "--workers", "0") as running:
        running.finish()
        return running.storage


@pytest.fixture(scope="module")
def site(storage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Serves the pages for as long as the tests of this file run."""
    uri, (port,) = f"sqlite:///{storage}/mlflow.db", free_ports(1)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("uapfp_dist")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    parent = next(r for r in runs if "mlflow.parentRunId" not in r.data.tags and r.info.status == "FINISHED")
    children = tuple(r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id)
    figures = tuple(file.path for file in client.list_artifacts(parent.info.run_id, "figures"))
    shots = Path(os.environ.get("UAPFP_SCREENSHOTS") or tmp_path_factory.mktemp("shots"))
    shots.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--port", str(port)]
    log = (shots / "mlflow-ui.log").open("wb")
    server = ProcessTree(subprocess.Popen(command, env=environment(), stdout=log, stderr=log, start_new_session=True))
    address = f"http://127.0.0.1:{port}"
    try:
        server.wait_for(f"{address}/health", shots / "mlflow-ui.log")
        yield Site(address, experiment.experiment_id, parent, children, figures, shots)
    finally:
        server.end()
        log.close()


@pytest.fixture
def browse(site: Site, tmp_path: Path) -> Callable[[str, str, str], str]:
    """Open a page until `wanted` is on it, a few times at most; keep a screenshot; return the page's text."""

    def chromium(page: str, *arguments: str) -> str:
        assert BROWSER
        profile = f"--user-data-dir={tmp_path}/profile"
        command = [BROWSER, *HEADLESS, profile, "--virtual-time-budget=30000", *arguments]
        done = subprocess.run([*command, f"{site.address}/#/{page}"], capture_output=True, timeout=180)
        return done.stdout.decode(errors="replace")

    def visit(page: str, name: str, wanted: str) -> str:
        text = ""
        for _ in range(4):
            text = chromium(page, "--dump-dom")
            if wanted in text:
                break
        chromium(page, f"--screenshot={site.shots / name}.png")
        return text

    return visit


def test_the_list_of_runs_shows_the_evaluation(site: Site, browse: Callable[[str, str, str], str]) -> None:
    name = str(site.parent.info.run_name)
    text = browse(f"experiments/{site.experiment}/runs", "runs", name)
    assert name in text
    assert "matching run" in text


def test_the_evaluation_shows_its_suspects(site: Site, browse: Callable[[str, str, str], str]) -> None:
    """The page lists the first ten of the nested runs and links to them."""
    text = browse(site.parent_page, "evaluation", "Child runs")
    assert str(site.parent.info.run_name) in text
    assert "Finished" in text
    shown = [run for run in site.children if str(run.info.run_name) in text]
    assert len(shown) >= min(5, len(site.children))


def test_the_list_of_runs_has_columns_that_tell_them_apart(site: Site, browse: Callable[[str, str, str], str]) -> None:
    """As the view that the experiment's description links to, under "Model training"."""
    page = f"experiments/{site.experiment}/runs?workflowType=machine_learning&viewStateShareKey=uapfp_runs"
    answer = site.parent.data.tags["answer"]
    text = html.unescape(browse(page, "view", html.escape(answer[:40], quote=False)))
    assert answer[:40] in text
    assert site.parent.data.params["seed"] in text
    assert all(column in text for column in ("decided_by", "victim/accuracy", "auc/homologous"))
    assert "Model registry" in text, "not the pages of GenAI"


def test_the_evaluation_begins_with_the_answer_and_its_picture(
    site: Site, browse: Callable[[str, str, str], str]
) -> None:
    """The page keeps the address of the picture, and the server has a picture there."""
    text = browse(f"{site.parent_page}?workflowType=machine_learning", "answer", "figures/answer.png")
    found = re.search(r'<img[^>]*src="(get-artifact[^"]*answer.png[^"]*)"', text)
    assert found, "the picture is not in the description"
    with urllib.request.urlopen(f"{site.address}/{html.unescape(found[1])}", timeout=30) as response:
        assert response.read(8) == b"\x89PNG\r\n\x1a\n"
    assert text.index("Can this fingerprint be trusted here?") < text.index("Search metrics")


def test_a_figure_is_drawn(site: Site, browse: Callable[[str, str, str], str]) -> None:
    """The picture is fetched by the page and turned into an image of it, not into an error message."""
    assert site.figures
    for path in site.figures:
        name = path.split("/")[-1]
        text = browse(f"{site.parent_page}/artifacts/{path}", Path(name).stem, f'alt="{path}"')
        assert re.search(rf'<img[^>]*alt="{path}"[^>]*src="blob:', text), f"{path} is not shown"


def test_a_suspect_shows_its_verdict(site: Site, browse: Callable[[str, str, str], str]) -> None:
    suspect = next(run for run in site.children if run.data.tags.get("claim"))
    page = f"experiments/{site.experiment}/runs/{suspect.info.run_id}"
    text = browse(page, "suspect", suspect.data.tags["claim"])
    assert suspect.data.tags["claim"] in text
    assert suspect.data.tags["role"] in text
    assert "similarity" in text
