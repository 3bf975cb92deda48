"""How `uapfp` is entered and left: as a script, a module or a file in jobs/, by an error or an interruption."""

import importlib
import os
import re
import runpy
import signal
import sys
import tomllib

import pytest
from system import ROOT

from uapfp_dist.cli.main import main
from uapfp_dist.command import main as process
from uapfp_dist.errors import UserError


def test_the_script_is_the_command() -> None:
    """What pip installs as `uapfp`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, name = project["scripts"]["uapfp"].partition(":")
    assert getattr(importlib.import_module(module), name) is main


def test_as_a_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["uapfp", "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("uapfp_dist.cli", run_name="__main__", alter_sys=True)
    assert end.value.code in (0, None)
    assert "evaluate" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_one_line(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        process(lambda: os.kill(os.getpid(), number), "uapfp evaluate", [])
    assert end.value.code == 130
    assert capsys.readouterr().err == "interrupted; the same command resumes where this one stopped\n"


def test_errors_name_the_command_and_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    def job() -> None:
        raise UserError("alpha: expected less", argument="verdict.n_alpha")

    with pytest.raises(SystemExit):
        process(job, "uapfp enroll", [])
    assert capsys.readouterr().err == "uapfp enroll: error: alpha: expected less (option --verdict.n-alpha)\n"


def test_what_an_error_names_is_written_as_it_is_typed(capsys: pytest.CaptureFixture[str]) -> None:
    """What it says so alone: other words stay as they are, and in Python all of them do."""
    error = UserError(
        "its output is odd: ask it with output logits, max_queries 3 (anyway goes on)",
        argument="output",
        options=("output logits", "max_queries", "anyway"),
    )

    def job() -> None:
        raise error

    with pytest.raises(SystemExit):
        process(job, "uapfp verify", [])
    said = "its output is odd: ask it with --output logits, --max-queries 3 (--anyway goes on) (option --output)"
    assert capsys.readouterr().err == f"uapfp verify: error: {said}\n"
    assert "--" not in str(error)


JOBS = {"full_eval": "evaluate", "ablations": "ablate", "enroll": "enroll", "verify": "verify"}
"""File in jobs/ to its subcommand."""


def test_jobs_are_thin_and_import_no_other_job() -> None:
    files = {path.stem: path.read_text() for path in (ROOT / "jobs").glob("*.py")}
    assert set(files) == {*JOBS, "hosts", "original_sac", "public_ipguard", "ray_up", "submit", "train_to_end"}
    for name, source in files.items():
        for other in files:
            assert not re.search(rf"^\s*(from|import) {other}\b", source, re.MULTILINE), f"{name} imports {other}"
        if name in JOBS:
            assert f'script("{JOBS[name]}")' in source
            assert len(source.splitlines()) <= 15


def test_a_job_takes_the_same_options(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its errors and its help bear its own name."""
    from uapfp_dist.cli.main import script

    for arguments, said in (
        (["--seed", "x"], "full_eval: error: --seed: expected INT, got x"),
        (["--help"], "usage: "),
    ):
        monkeypatch.setattr(sys, "argv", ["jobs/full_eval.py", *arguments])
        with pytest.raises(SystemExit):
            script("evaluate")
        shown = capsys.readouterr()
        assert said in shown.err + shown.out
