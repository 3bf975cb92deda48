"""Old names of options and values: taken, with a line each."""

import pytest
from commands import exit_code, parsed

from uapfp_dist.config.renamed import OPTIONS, current_arguments
from uapfp_dist.config.schema import Config
from uapfp_dist.evaluation.grid_axes import parse_grid


@pytest.mark.parametrize(
    ("old", "new", "notes"),
    [
        ([], [], []),
        (
            ["--verdict.n-draws", "3"],
            ["--verdict.n-resamples", "3"],
            ["option --verdict.n-draws is now --verdict.n-resamples"],
        ),
        (
            ["--verdict.n_draws=3"],
            ["--verdict.n-resamples=3"],
            ["option --verdict.n_draws is now --verdict.n-resamples"],
        ),
        (
            ["--studies.n-draws", "1"],
            ["--studies.n-resamples", "1"],
            ["option --studies.n-draws is now --studies.n-resamples"],
        ),
        (
            ["--verdict.pool", "None"],
            ["--verdict.train-pool", "None"],
            ["option --verdict.pool is now --verdict.train-pool"],
        ),
        (
            ["--verdict.formats", "prob", "top3", "hard", "--seed", "0"],
            ["--verdict.formats", "probabilities", "top3", "label", "--seed", "0"],
            ["format prob is now probabilities", "format hard is now label"],
        ),
        (
            ["--extraction.soft-labels", "soft"],
            ["--extraction.soft-labels", "probabilities"],
            ["format soft is now probabilities"],
        ),
        (
            ["--labels", "hard", "--formats", "hard"],
            ["--labels", "label", "--formats", "label"],
            ["format hard is now label"],
        ),
        (["--parts", "uap", "answers"], ["--parts", "uap", "responses"], ["parts answers is now responses"]),
        (["--preset", "soft", "hard"], ["--preset", "soft", "hard"], []),
        (
            ["--grid", "verdict.n_draws=2,3"],
            ["--grid", "verdict.n_resamples=2,3"],
            ["grid verdict.n_draws is now verdict.n_resamples"],
        ),
        (
            ["--grid", " verdict . pool = 5, 6"],
            ["--grid", "verdict.train_pool= 5, 6"],
            ["grid verdict.pool is now verdict.train_pool"],
        ),
        (["--grid=verdict.pool=5"], ["--grid=verdict.train_pool=5"], ["grid verdict.pool is now verdict.train_pool"]),
        (
            ["--grid", "verdict.formats=prob+hard,top3"],
            ["--grid", "verdict.formats=probabilities+label,top3"],
            ["format prob is now probabilities", "format hard is now label"],
        ),
        (["--grid", "n_points=10,20", "--grid", "top_k"], ["--grid", "n_points=10,20", "--grid", "top_k"], []),
    ],
)
def test_an_old_name_is_taken_with_a_line(
    old: list[str], new: list[str], notes: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert current_arguments(old) == new
    assert capsys.readouterr().err.splitlines() == (["note: " + "; ".join(notes)] if notes else [])
    assert current_arguments(new) == new
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["evaluate", "ablate"])
def test_commands_with_that_section_take_old_names(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = parsed(name, "--verdict.pool", "7")
    assert chosen.config.verdict.train_pool == 7
    assert capsys.readouterr().err.startswith("note: option --verdict.pool is now")


@pytest.mark.parametrize("name", ["seeds", "transfer", "enroll", "kit-power", "benchmark", "status"])
def test_commands_without_it_just_refuse(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(name, "--verdict.n-draws", "3") == 2
    assert "is now" not in capsys.readouterr().err


@pytest.mark.parametrize("new", OPTIONS.values())
def test_new_names_exist(new: str) -> None:
    section, name = new.split(".")
    assert hasattr(getattr(Config(), section), name)
    assert parse_grid([f"{new}=7"])[0].name == new
