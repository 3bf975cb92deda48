"""Options of enrolments: each has a say in the kit, or it is refused."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from commands import exit_code, parsed
from small_enrollment import SMALL, small_config

from uapfp_dist.cli import enroll, kit_power, kit_robustness
from uapfp_dist.config.schema import Config
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.verification.enrollment.derived_config import EVALUATION_ALONE, SET_BY_REQUIREMENTS, enroll_preset
from uapfp_dist.verification.enrollment.plan import plan_enrollment

ELSEWHERE = {"data.name", "data.size", "encoder", "churn.n_points", "churn.budgets"}
"""No part of the specs of one data set: read when images are loaded or scores are fitted, or ids that hold them all."""
OTHERS = {
    "A": "B", "sgd": "deepfool", "victim": "substitute", "neighbours": "whole_clusters", "penultimate": "logits",
    "float32": "bfloat16", "C": "D", "supcon": "autoencoder", "uap": "churn", "digits": "cifar10",
}  # fmt: skip
"""A value of a field of words to another one."""


def leaves(value: Any, prefix: str, whole: Callable[[Any], Config]) -> Iterator[tuple[str, object, Any]]:
    """Every field below `value`: its name, its value, and a function from another one to the whole configuration."""
    for item in fields(value):
        found, name = getattr(value, item.name), f"{prefix}{item.name}"

        def rebuilt(new: Any, field: str = item.name) -> Config:
            return whole(replace(value, **{field: new}))

        if is_dataclass(found) and not isinstance(found, ResponseFormat):
            yield from leaves(found, f"{name}.", rebuilt)
        else:
            yield name, found, rebuilt


def others(value: Any) -> list[Any]:
    """Values that a field might also have."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, value * 0.9 if isinstance(value, float) else max(value - 1, 0)]
    if isinstance(value, str):
        return [OTHERS[value]]
    if isinstance(value, tuple):
        scaled = [tuple(one * 0.9 for one in value)] if value and isinstance(value[0], float) else []
        return [value[:-1] or (1,), *scaled]
    return [50, 0.5] if value is None else [ResponseFormat(2)]


def test_every_option_has_a_say_or_is_refused(digits: Dataset) -> None:
    """What enrolments set themselves changes no model, no probe and no question; all else does."""
    base = small_config()
    requirements = replace(SMALL, attacks=("cloudleak", "jacobian", "knockoff"))

    def specs(config: Config) -> frozenset[str]:
        return frozenset(spec.id for spec in plan_enrollment(config, requirements, 0, digits).specs)

    def tried(config: Config) -> str:
        try:
            return "same" if specs(config) == before else "other"
        except UserError:
            return "refused"

    before = specs(base)
    for name, value, rebuilt in leaves(base, "", lambda config: config):
        section = name.partition(".")[0]
        if {name, section} & ELSEWHERE:
            continue
        found = {tried(rebuilt(other)) for other in others(value)}
        if {name, section} & {*SET_BY_REQUIREMENTS, *EVALUATION_ALONE}:
            assert found <= {"same", "refused"}, name
        else:
            assert found & {"other", "refused"}, f"{name} is taken and does nothing"


@pytest.mark.parametrize("name", ["enroll", "kit-power"])
@pytest.mark.parametrize(
    "option", ["--zoo.n-piracy=5", "--verdict.alpha=0.1", "--uap.no-references", "--studies.sweeps"]
)
def test_what_an_enrolment_sets_itself_is_refused(name: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(name, option) == 2
    expected = f"{option.partition('=')[0]} would change nothing in uapfp {name}; uapfp {name} --help-all lists what"
    assert expected in capsys.readouterr().err
    assert option.partition("=")[0].replace("no-", "") not in help_of(name, capsys)


def test_kit_robustness_takes_every_field_that_has_a_say(capsys: pytest.CaptureFixture[str]) -> None:
    """Another victim, further attacks; where nothing is said, the preset with models modified in all ways."""
    chosen = parsed(
        "kit-robustness", "--zoo.victim-architecture", "D", "--removal.n-piracy", "2", "--precision", "auto"
    )
    assert (chosen.config.zoo.victim_architecture, chosen.config.precision) == ("D", "auto")
    assert (chosen.config.removal.n_piracy, chosen.config.controls.n_second_hand) == (2, 6)
    assert chosen.config.data == enroll_preset("digits").data
    assert exit_code("kit-robustness", "--modifications.n-piracy", "3") == 2
    assert "--modifications.n-piracy would change nothing in uapfp kit-robustness" in capsys.readouterr().err
    assert "--modifications.fine-tune-epochs" in help_of("kit-robustness", capsys)


@pytest.mark.parametrize("command", [enroll.COMMAND, kit_power.COMMAND, kit_robustness.COMMAND])
def test_the_names_of_what_is_set_exist(command: Any) -> None:
    """A field that was renamed would be offered again."""
    default = command.default([])
    hidden = {option.name for option in command.options_from(default, fixed=True)}
    for name in command.fixed:
        option = name.replace("_", "-")
        assert any(one == option or one.startswith(f"{option}.") for one in hidden), name


def help_of(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """All of it."""
    assert exit_code(name, "--help-all") == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "line",
    [
        "transfer --workers 2", "transfer --max-hours 1", "sibling-cost --mlflow-uri x", "seeds --report r.json",
        "enroll --report r.json", "kit-power --report r.json", "kit-robustness --report r.json",
    ],
)  # fmt: skip
def test_what_a_command_never_reads_is_refused(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the options that commands share."""
    assert exit_code(*line.split()) == 2
    assert f"{line.split()[1]} would change nothing in uapfp {line.split()[0]}; " in capsys.readouterr().err
