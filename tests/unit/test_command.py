"""`uapfp`: every help fits a screen, what is wrong is one line."""

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from commands import exit_code, parsed

from uapfp_dist.cli.parser.help import short_help
from uapfp_dist.cli.parser.terminal import bold
from uapfp_dist.cli.subcommands import SUBCOMMANDS, overview
from uapfp_dist.errors import nearest

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
    for option in command_of(name).options_from(command_of(name).default([])):
        assert option.spellings[0] in whole
        assert option.text, f"{option.name} has no text"
        assert " ".join(option.text.split())[:40] in whole
        if option.name in command_of(name).usual:
            assert option.text.split()[0] in short


@names
def test_the_usual_options_exist(name: str) -> None:
    command = command_of(name)
    known = {option.name for option in command.options_from(command.default([]))}
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
        ("evaluate --verdict.n-calibrate 39", "verdict.n_calibrate: expected at most 23, as of zoo.n_homologous 29"),
        ("ablate --verdict.n-calibrate 39", "verdict.n_calibrate: expected at most 23, as of zoo.n_homologous 29"),
        ("ablate --grid verdict.n_calibrate=19,39", "verdict.n_calibrate: expected at most 23"),
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
    needed = [option.name for option in command.options_from(command.default([])) if option.required]
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
