"""Servers as their projects ship them: the claims, the scores of the local model, the server's own count.

A server's package may want an environment of its own: SERVER_PYTHONS names the interpreters to look in, with a colon
between them. What is installed in none is skipped.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import run
from system import ProcessTree, environment, free_ports
from toy_kit import WIDTH, negative, responses_of, toy_kit, trained

from uapfp_dist.serving.package import ServedNet, package
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification.kit.io import save_kit
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.querying.transcript_files import transcript_path
from uapfp_dist.verification.replay import replay
from uapfp_dist.verification.verify import verify

APPS = Path(__file__).resolve().parents[1] / "support" / "real_servers"
READY = {
    "mlflow": ("mlflow", "/ping"),
    "fastapi": ("fastapi, multipart", "/ping"),
    "mlserver": ("mlserver", "/v2/health/ready"),
    "kserve": ("kserve", "/v2/models/toy/ready"),
    "bentoml": ("bentoml", "/readyz"),
}
"""What the app imports, and where it says that it is ready."""

ROWS: dict[str, Any] = {"json": {"images": ["{pixels}", "..."]}}
UPLOAD: dict[str, Any] = {"multipart": {"file": "{png}"}}
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "MLflow, inputs": ("mlflow", "", {}),
    "MLflow, instances": ("mlflow", "", {"kind": "mlflow-instances"}),
    "MLflow, a column of files": ("mlflow", "", {"kind": "mlflow-dataframe"}),
    "FastAPI, an upload": ("fastapi", "/predict", {"kind": "fastapi", "output": "label"}),
    "FastAPI, by a template": ("fastapi", "/predict", {"request": UPLOAD, "answer": "label,score", "output": "top1"}),
    "KServe V1": ("kserve", "/v1/models/toy:predict", {}),
    "KServe V2": ("kserve", "/v2/models/toy", {}),
    "KServe V2, binary": ("kserve", "/v2/models/toy/infer", {"binary": True}),
    "MLServer": ("mlserver", "/v2/models/toy", {"output": "label"}),
    "MLServer, an output by name": ("mlserver", "/v2/models/toy", {"output_tensor": "predict_proba"}),
    "BentoML, a picture": ("bentoml", "/classify", {"kind": "bentoml", "output": "label"}),
    "BentoML, numbers": ("bentoml", "/rows", {"request": ROWS}),
}
"""The server, the path, how it is asked."""


@cache
def python_of(packages: str) -> str:
    """An interpreter that has these packages; empty: there is none."""
    for python in [sys.executable, *filter(None, os.environ.get("SERVER_PYTHONS", "").split(":"))]:
        if not subprocess.run([python, "-c", f"import {packages}"], capture_output=True, timeout=120).returncode:
            return python
    return ""


def interpreter(packages: str) -> str:
    """The same; the test is skipped where there is none."""
    if not (python := python_of(packages)):
        pytest.skip(f"{packages}: not installed")
    return python


@contextmanager
def running(command: list[str], folder: Path, port: int, ready: str, **variables: str) -> Iterator[str]:
    """URL of a server that a command starts; it ends with the block."""
    log_path = folder / "log"
    support = os.pathsep.join(map(str, (APPS, APPS.parent, APPS.parents[2])))
    own = environment(PYTHONPATH=support, PORT=str(port), **variables)
    with log_path.open("wb") as log:
        process = ProcessTree(subprocess.Popen(command, env=own, cwd=folder, stdout=log, stderr=log))
        try:
            process.wait_for(f"http://127.0.0.1:{port}{ready}", log_path)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.end()


@pytest.mark.slow
@pytest.mark.parametrize("net", ["stolen", "independent"])
@pytest.mark.parametrize("server", READY)
def test_a_server(server: str, net: str, tmp_path: Path) -> None:
    """All the ways in which it can be asked."""
    kit, local = toy_kit(), responses_of(trained(0) if net == "stolen" else negative(), toy_kit().images)
    claim = "piracy" if net == "stolen" else "inconclusive"
    (port,), counts = free_ports(1), tmp_path / "counts"
    packages, ready = READY[server]
    command = [interpreter(packages), str(APPS / f"{server}_app.py")]
    with running(command, tmp_path, port, ready, NET=net, COUNTS=str(counts)) as url:
        for number, (name, (own, path, fields)) in enumerate(CASES.items()):
            if own != server:
                continue
            if "request" in fields:
                file = tmp_path / f"{number}.json"
                file.write_text(json.dumps(fields["request"]))
                fields = {**fields, "request": file}
            before = sum(map(int, counts.read_text().split())) if counts.exists() else 0
            config = SuspectConfig(at=url + path, name="s", **fields)
            (case,) = verify(kit, [config], tmp_path / str(number), QueryConfig(max_queries=300))
            assert case.verdict.claim == claim, name
            assert case.ledger.queries == sum(map(int, counts.read_text().split())) - before, name
            assert replay(kit, [transcript_path(tmp_path / str(number), "s")])[0].verdict == case.verdict
            if config.output == "probabilities":
                assert (case.probabilities - local).abs().max() < 1e-6, name
            else:
                assert torch.equal(case.probabilities.argmax(1), local.argmax(1)), name


@pytest.mark.slow
@pytest.mark.parametrize("net", ["stolen", "independent"])
def test_the_walk_of_the_readme(net: str, tmp_path: Path) -> None:
    """Its app behind an upload form, verified by its template and its command: here with the toy kit."""
    page = (APPS.parents[2] / "uapfp_dist" / "suspects" / "README.md").read_text()
    (app,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(app.splitlines()) <= 20
    (tmp_path / "app.py").write_text(app)
    (template,) = re.findall(r"echo '(.*)' > upload.json", page)
    (tmp_path / "upload.json").write_text(template)
    (options,) = re.findall(r"--at http://127.0.0.1:8000(/predict) --request upload.json (.*)", page)
    model = trained(0) if net == "stolen" else negative()
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    package(ServedNet("A", WIDTH, (1, 8, 8), 10), weights, "probabilities", tmp_path / "served")
    save_kit(toy_kit(), tmp_path / "kit")
    (port,) = free_ports(1)
    command = [interpreter("fastapi, multipart, mlflow"), "-m", "uvicorn", "app:app", "--port", str(port)]
    with running(command, tmp_path, port, "/docs") as url:
        at = ("--at", url + options[0], "--request", str(tmp_path / "upload.json"), *options[1].split())
        run("verify", "--kit", str(tmp_path / "kit"), *at, "--out", str(tmp_path / "verdict"), "--no-track")
    (suspect,) = json.loads((tmp_path / "verdict" / "verdict.json").read_text())["suspects"]
    assert suspect["claim"] == ("piracy" if net == "stolen" else "inconclusive")
    assert suspect["queries_sent"] == sum(map(int, (tmp_path / "served" / "counts").read_text().split()))
