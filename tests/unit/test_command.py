"""`uapfp`: every help fits a screen, what is wrong is one line, a pipe and a terminal are served alike."""

import importlib
import os
import re
import runpy
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from commands import exit_code, parsed
from system import ROOT, environment

from uapfp_dist.cli.main import main
from uapfp_dist.cli.parser.help import short_help
from uapfp_dist.cli.parser.options import options_of
from uapfp_dist.cli.parser.terminal import bold
from uapfp_dist.cli.subcommands import SUBCOMMANDS, overview
from uapfp_dist.command import main as process
from uapfp_dist.errors import UserError, nearest

LINES, COLUMNS = 24, 100
"""Of a screen."""
NEEDS = {"verify": "kit"}
"""Subcommand to the option that it cannot do without."""
names = pytest.mark.parametrize("name", SUBCOMMANDS)


def command_of(name: str) -> Any:
    return importlib.import_module(SUBCOMMANDS[name].module).COMMAND


def fits_a_screen(text: str) -> bool:
    lines = text.splitlines()
    return len(lines) <= LINES and all(len(line) <= COLUMNS for line in lines)


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: object
    out: str
    err: str


Call = Callable[..., Said]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """`uapfp` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for variable in ("UAPFP_STORAGE", "UAPFP_DATA", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(variable, raising=False)

    def call(*arguments: str) -> Said:
        code = exit_code(*arguments)
        return Said(code, *capsys.readouterr())

    return call


def refused(said: Said, *words: str) -> None:
    """Exit code 2 and one line."""
    assert said.code == 2, said
    (line,) = said.err.splitlines()
    assert line.startswith("uapfp")
    assert ": error: " in line
    assert said.out == ""
    for word in words:
        assert word in line


# --- helps


def test_the_overview_fits_a_screen_and_names_everything(call: Call) -> None:
    said = call("--help")
    assert (said.code, said.err) == (0, "")
    assert fits_a_screen(said.out)
    assert said.out == call("help").out == overview() + "\n"
    for name in SUBCOMMANDS:
        assert re.search(rf"^  {name} +\w", said.out, re.MULTILINE)
    assert not fits_a_screen("\n" * 25)
    assert not fits_a_screen("x" * 101)


def test_without_arguments_the_overview_is_shown(call: Call) -> None:
    said = call()
    assert (said.code, said.out) == (2, overview() + "\n")


def test_the_version(call: Call) -> None:
    assert call("--version").out == "uapfp 0.1.0\n"


@names
def test_a_short_help_fits_a_screen(name: str) -> None:
    """Of every subcommand, under its two names."""
    text = short_help(command_of(name), f"uapfp {name}")
    assert fits_a_screen(text), text
    assert text.startswith(f"usage: uapfp {name} ")
    assert f"uapfp {name} --" in text.split("options:")[0] + " --", "an example"
    assert "--help-all" in text.splitlines()[-1]


@names
def test_the_texts_are_those_of_the_full_help(name: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written once: what a short help says of an option begins what the full one says; all options are in there."""
    monkeypatch.setenv("COLUMNS", "1000")
    said = call(name, "--help-all")
    assert (said.code, said.err) == (0, "")
    whole = " ".join(said.out.replace("│", " ").split())
    short = call(name, "--help").out
    for option in options_of(command_of(name).options, command_of(name).default([])):
        assert option.spellings[0] in whole
        assert option.text, f"{option.name} has no text"
        assert " ".join(option.text.split())[:40] in whole
        if option.name in command_of(name).usual:
            assert option.text.split()[0] in short


@names
def test_the_usual_options_exist(name: str) -> None:
    command = command_of(name)
    known = {option.name for option in options_of(command.options, command.default([]))}
    assert set(command.usual) <= known
    assert len(command.usual) == len(set(command.usual))


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    terminal: Any = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert bold("x", terminal) == "\x1b[1mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert bold("x", terminal) == "x"
    monkeypatch.delenv("NO_COLOR")
    assert "\x1b" not in overview(), "this output is no terminal"


# --- what is wrong


def test_a_misspelt_subcommand(call: Call) -> None:
    refused(call("evalute"), "unknown command evalute (did you mean evaluate?)")
    refused(call("zzz"), "unknown command zzz; uapfp --help lists")
    refused(call("--verson"), "unknown option --verson")


@names
def test_a_misspelt_option_names_the_nearest(name: str, call: Call) -> None:
    first = command_of(name).usual[0]
    wrong = f"--{first[:-1]}{'x' if first[-1] != 'x' else 'y'}"
    refused(call(name, wrong, "1"), f"unknown option {wrong}", f"--{first}", f"uapfp {name} --help-all")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("evaluate --zoo.n-pirates 3", "did you mean --zoo.n-piracy"),
        ("evaluate --n-homologous 3", "--zoo.n-homologous"),
        ("evaluate --seed x", "--seed: expected INT, got x"),
        ("evaluate --seed", "--seed: expected INT, got nothing"),
        ("evaluate --seed=1.5", "--seed: expected INT, got 1.5"),
        ("evaluate --data.outside-shares 1 2", "--data.outside-shares: expected FLOAT FLOAT FLOAT, got 1 2"),
        ("evaluate --precision bfloat61", "got bfloat61 (did you mean bfloat16?)"),
        ("evaluate --preset digtis", "unknown preset 'digtis' (did you mean digits"),
        ("evaluate --methods uapp", "unknown method 'uapp' (did you mean uap"),
        ("evaluate digits", "expected options, --name value, got digits"),
        ("evaluate --ablations yes", "got yes"),
        ("ablate --grid n_pionts=3", "did you mean n_points"),
        ("enroll --size ligth", "(did you mean light?)"),
        ("enroll --labels loud", "(option --labels)"),
        ("verify --kit none --layout NCWH", "(did you mean NCHW?)"),
        ("verify --kit none", "kit none: expected a folder with kit.json"),
        ("serve --group piraci", "(did you mean piracy?)"),
        ("serve --kit none", "kit none: expected a folder with kit.json"),
        ("status --storage none", "(option --storage)"),
        ("images --data.name digit", "(did you mean digits?)"),
        ("seeds --preset digit", "(did you mean digits"),
        ("seeds --preset digits --seeds", "seeds: expected at least one, got none"),
        ("seeds --preset digits --seeds 0 1 0", "seeds: expected each of them once, got 0 again"),
        ("kit-power --seeds", "seeds: expected at least one, got none"),
        ("kit-power --seeds 3 3", "seeds: expected each of them once, got 3 again"),
        ("evaluate --encoder.learning-rate -1", "encoder.learning_rate: expected a number from 1e-08 to 10, got -1"),
        ("evaluate --zoo.homologous-margin nan", "zoo.homologous_margin: expected a number from 0 to 1, got nan"),
        ("evaluate --uap.target-fooling 80", "uap.target_fooling: expected a number from 0.001 to 1, got 80"),
        ("evaluate --data.outside-shares nan 0.5 0.5", "data.outside_shares: expected a number from 0 to 1, got nan"),
        ("transfer --source digit", "(did you mean digits"),
        ("kit-power --preset digit", "(did you mean digits"),
        ("kit-robustness --preset digit", "(did you mean digits"),
        ("benchmark --parts uaps", "expected one of uap, deepfool"),
        ("benchmark --report none/report.json", "(option --report)"),
    ],
)
def test_what_is_wrong_is_one_line(words: str, said: str, call: Call, tmp_path: Path) -> None:
    refused(call(*words.split()), said)
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(("name", "option"), NEEDS.items())
def test_what_is_needed_is_named(name: str, option: str, call: Call) -> None:
    refused(call(name), f"expected --{option} ", f"uapfp {name} --help")


@names
def test_only_those_need_something(name: str) -> None:
    command = command_of(name)
    needed = [option.name for option in options_of(command.options, command.default([])) if option.required]
    assert needed == ([NEEDS[name]] if name in NEEDS else [])


def test_underscores_are_dashes() -> None:
    assert parsed("evaluate", "--zoo.n_piracy", "7").config.zoo.n_piracy == 7
    assert parsed("evaluate", "--zoo.no-augment").config.zoo.augment is False


@pytest.mark.parametrize(
    ("name", "names", "found"),
    [
        ("uapp", ("uap", "clean"), " (did you mean uap?)"),
        ("--width", ("--zoo.width", "--seed"), " (did you mean --zoo.width?)"),
        ("zzz", ("uap", "clean"), ""),
    ],
)
def test_the_nearest_names(name: str, names: tuple[str, ...], found: str) -> None:
    assert nearest(name, names) == found


# --- processes


def test_the_overview_waits_for_no_library() -> None:
    """Torch, Ray and MLflow take seconds to import."""
    code = (
        "import sys; from uapfp_dist.cli.main import main\n"
        "try: main(['--help'])\n"
        "finally: print(sorted({'torch', 'ray', 'mlflow', 'tyro', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_the_script_is_the_command() -> None:
    """What pip installs as `uapfp`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, name = project["scripts"]["uapfp"].partition(":")
    assert getattr(importlib.import_module(module), name) is main


def test_as_a_process_without_a_terminal() -> None:
    command = [sys.executable, "-m", "uapfp_dist.cli"]
    done = subprocess.run([*command, "evalute"], env=environment(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("uapfp: error: unknown command evalute (did you mean evaluate?)")


def test_as_a_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["uapfp", "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("uapfp_dist.cli", run_name="__main__", alter_sys=True)
    assert end.value.code in (0, None)
    assert "evaluate" in capsys.readouterr().out


def test_a_reader_that_has_seen_enough(tmp_path: Path) -> None:
    """The full help, into a pipe that is closed: no traceback."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "uapfp_dist.cli", "status", "--help-all"]
    done = subprocess.run(command, env=environment(), stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


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


# --- jobs/


JOBS = {"full_eval": "evaluate", "ablations": "ablate", "enroll": "enroll", "verify": "verify"}
"""File in jobs/ to its subcommand."""


def test_jobs_are_thin_and_import_no_other_job() -> None:
    files = {path.stem: path.read_text() for path in (ROOT / "jobs").glob("*.py")}
    assert set(files) == {*JOBS, "hosts", "original_sac", "ray_up", "submit"}
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
