"""Suspects that MLflow's scoring server really serves: toy nets, and models of a digits kit."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import run
from safetensors.torch import save_file
from small_enrollment import enrollment_flags, small_config
from system import ROOT, Lab, ProcessTree, environment, free_ports
from toy_kit import WIDTH, negative, responses_of, toy_kit, trained

from uapfp_dist.cli import serve
from uapfp_dist.errors import UserError
from uapfp_dist.serving.held_out import chosen_row, net_of, weights_of
from uapfp_dist.serving.package import ServedNet, package, server_command
from uapfp_dist.storage.store import Store
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification.kit.info import KitModel
from uapfp_dist.verification.kit.io import load_kit
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.querying.session import N_REPEATS
from uapfp_dist.verification.replay import JudgedSuspect
from uapfp_dist.verification.verify import verify

TOY = ServedNet("A", WIDTH, (1, 8, 8), 10)


@contextmanager
def served(net: ServedNet, weights: dict[str, Any], output: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """(URL, file of counts) of a net behind `mlflow models serve`."""
    model = package(net, weights, output, folder)
    (port,) = free_ports(1)
    with answering(server_command(model, port), port, folder / "log") as url:
        yield url, folder / "counts"


@contextmanager
def answering(command: list[str], port: int, log_path: Path) -> Iterator[str]:
    """URL of a server that `command` starts, once it responds; it ends with the block."""
    log = log_path.open("wb")
    server = ProcessTree(subprocess.Popen(command, env=environment(), stdout=log, stderr=log))
    try:
        server.wait_for(f"http://127.0.0.1:{port}/ping", log_path)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.end()
        log.close()


def over_http(kit: Kit, net: ServedNet, weights: dict[str, Any], output: str, folder: Path) -> JudgedSuspect:
    """The verdict on the net as it is served; the server's count of images is the ledger's."""
    with served(net, weights, output, folder / "served") as (url, counts):
        (case,) = verify(
            kit, [SuspectConfig(at=url, name="s", output=output)], folder / "out", QueryConfig(concurrency=2)
        )
        assert case.ledger.queries == sum(map(int, counts.read_text().split()))
    return case


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stolen", "output", "claim"), [(True, "label", "piracy"), (False, "probabilities", "inconclusive")]
)
def test_a_toy(stolen: bool, output: str, claim: str, tmp_path: Path) -> None:
    """The local model's scores, and the queries that the server counted."""
    kit, net = toy_kit("uap"), trained(0) if stolen else negative()
    weights = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    case = over_http(kit, TOY, weights, output, tmp_path)
    local = responses_of(net, kit.images)
    local = torch.eye(10)[local.argmax(1)] if output == "label" else local
    assert (case.probabilities - local).abs().max() < 1e-6
    assert case.verdict.claim == claim


def test_no_code_that_a_kit_names_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the command names it too."""
    kit = toy_kit("uap")
    models = [replace(row, architecture="no_such_module:make") for row in kit.info.models]
    kit = replace(kit, info=replace(kit.info, models=tuple(models)))
    monkeypatch.setattr(serve, "load_kit", lambda path: kit)
    with pytest.raises(UserError, match="would be imported and run"):
        run("serve", "--storage", str(tmp_path))
    with pytest.raises(UserError, match="expected the configuration"):
        run("serve", "--storage", str(tmp_path), "--architecture", "no_such_module:make")


@pytest.mark.slow
def test_the_walk_of_the_readme(lab: Lab, tmp_path: Path) -> None:
    """Enrol on Ray, serve a stolen model of that zoo, verify it by the digest: three commands, at the smallest size."""
    kit, storage = str(tmp_path / "kit"), str(tmp_path / "s")
    small = ("--alpha", "0.5", "--attacks", "cloudleak", "knockoff", "--labels", "hard", "--n-train", "2")
    tests = ("--n-train-piracy", "1", "--n-test", "1", "--n-test-piracy", "1", "--workers", "2")
    churn = ("--n-committee", "2", "--n-sets", "2", "--n-points", "20", "--calibration-factor", "1")
    options = (*small, *tests, *churn, "--seed", "0", *enrollment_flags(small_config()))
    said = jobs("enroll", "--out", kit, "--storage", storage, *options, RAY_TMPDIR=lab.ray_home)
    assert re.search(
        r"to make: \d+ models, \d+ of them siblings of the victim \(0 already stored\), \d+ other tasks, "
        r"about \d+ min on 2 workers",
        said,
    )
    assert said.index("to make: ") < said.index("fitting the scorers")
    digest = load_kit(kit).digest
    assert f"digest: {digest}" in said
    (port,) = free_ports(1)
    options = ("--kit", kit, "--storage", storage, "--port", str(port), "--folder", str(tmp_path / "served"))
    with answering([sys.executable, "-m", "uapfp_dist.cli", "serve", *options], port, tmp_path / "log") as url:
        out = tmp_path / "verdict"
        said = jobs("verify", "--kit", kit, "--expect", digest, "--at", url, "--name", "s", "--out", str(out))
        shown, note = (tmp_path / "log").read_text().splitlines()  # none of MLflow's warnings and progress bars
        assert shown.startswith("serving ")
        assert note.startswith("verifying it is a look")
        (suspect,) = json.loads((out / "verdict.json").read_text())["suspects"]
        sent = sum(map(int, (tmp_path / "served" / "counts").read_text().split()))
    assert suspect["claim"] in ("piracy", "inconclusive")
    assert f"s: {suspect['claim']}" in said
    assert suspect["queries_sent"] == sent == suspect["queries"] + N_REPEATS
    assert (out / "verdict.html").is_file()


def jobs(name: str, *arguments: str, **variables: str) -> str:
    """What a job said that went well."""
    command = [sys.executable, str(ROOT / "jobs" / f"{name}.py"), *arguments]
    done = subprocess.run(command, env=environment(**variables), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_models_of_a_digits_kit(tmp_path: Path) -> None:
    """A stolen one that the kit catches (also by its labels alone), a negative, one stolen from somebody else."""
    where = ("--preset", "digits", "--seed", "1", "--out", str(tmp_path / "kit"), "--storage", str(tmp_path / "s"))
    enrolled = [sys.executable, str(ROOT / "jobs" / "enroll.py"), *where]
    subprocess.run(enrolled, env=environment(), check=True, capture_output=True, timeout=1500)
    kit, store = load_kit(tmp_path / "kit"), Store(str(tmp_path / "s"))
    for group in ("piracy", "homologous", "other_victim"):
        for output in ("probabilities", "label"):
            folder = tmp_path / f"{group}-{output}"
            row, local = first_as_it_should_be(kit, store, group, folder)
            case = over_http(kit, net_of(row, kit), weights_of(row, store), output, folder)
            assert case.verdict.claim == ("piracy" if group == "piracy" else "inconclusive")
            if output == "probabilities":
                found, expected = case.probabilities, local.probabilities  # NaN where a kit asks nothing of this format
                torch.testing.assert_close(found, expected, rtol=0, atol=1e-6, equal_nan=True)
                assert abs(case.verdict.similarity - local.verdict.similarity) < 1e-6
                assert abs(case.verdict.weighted_errors - local.verdict.weighted_errors) < 1e-6


def first_as_it_should_be(kit: Kit, store: Store, group: str, folder: Path) -> tuple[KitModel, JudgedSuspect]:
    """The first held-out model of a group on which the kit is right, asked as a file: rates are measured elsewhere."""
    wanted = "piracy" if group == "piracy" else "inconclusive"
    for index in range(len(kit.info.models)):
        row = chosen_row(kit, group, index)
        net, path = net_of(row, kit), folder / f"{index}.safetensors"
        path.parent.mkdir(exist_ok=True)
        save_file(weights_of(row, store), path)
        config = SuspectConfig(at=str(path), name="local", architecture=net.architecture, width=net.width)
        (case,) = verify(kit, [config], folder / f"local-{index}")
        if case.verdict.claim == wanted:
            return row, case
    raise AssertionError("chosen_row ends the loop")
