"""Options of enrolments: each has a say in the kit, or it is refused."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from commands import exit_code, parsed
from small_enrollment import SMALL, small_config

from uapfp_dist.cli import enroll, kit_power, kit_robustness
from uapfp_dist.config.presets import PRESETS
from uapfp_dist.config.schema import Config
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.tasks.specs import Imported
from uapfp_dist.verification.enrollment.config import EnrollConfig, check_enroll_config
from uapfp_dist.verification.enrollment.derived_config import (
    EVALUATION_ALONE,
    SET_BY_REQUIREMENTS,
    check_no_unused_field,
    enroll_preset,
)
from uapfp_dist.verification.enrollment.owner_victim import OwnerVictim
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


@pytest.mark.parametrize("name", ["enroll", "kit-power", "kit-robustness"])
@pytest.mark.parametrize(
    ("beside", "option", "said"),
    [
        ("", "--exact-siblings=99", "expected nothing with exact none, where it would change nothing, got 99"),
        ("", "--n-exact-stolen=0", "expected nothing with exact none"),
        ("", "--n-exact-points=20", "expected nothing with exact none"),
        ("--size=light", "--n-train=8", "expected nothing with size light"),
        ("--size=light", "--n-train-piracy=8", "expected nothing with size light"),
        ("--size=light", "--n-test-piracy=8", "expected nothing with size light"),
        ("--size=light", "--n-errors=50", "expected nothing with size light"),
        ("--size=light", "--encoder.hidden=32", "expected 64 as in the preset with size light"),
        ("--n-committee=0", "--churn.mirror", "expected False as in the preset with n_committee 0"),
        ("--n-committee=0", "--siblings.gate=0.3", "expected 0.8 as in the preset with n_committee 0"),
    ],
)
def test_what_does_nothing_beside_others_is_refused(
    name: str, beside: str, option: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Before anything is made."""
    groups = ("--groups", "homologous", "same_data")
    out = ("--out", str(tmp_path / "out"), "--storage", str(tmp_path / "s"), "--workers", "0")
    assert exit_code(name, *groups, *([beside] if beside else []), option, *out) == 2
    (line,) = capsys.readouterr().err.splitlines()
    shown = option.partition("=")[0]
    assert f"{shown.removeprefix('--').replace('-', '_')}: {said}" in line
    assert line.endswith(f"leave it out (option {shown})")
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(
    "changes", [{"n_sets": 1}, {"n_points": 50}, {"exact_siblings": 19}, {"size": "light", "n_train": 2}]
)
def test_requirements_that_do_nothing_are_refused(changes: dict[str, Any], digits: Dataset) -> None:
    without = EnrollConfig(groups=("homologous", "same_data"), n_committee=10 if "size" in changes else 0)
    plan_enrollment(small_config(), without, 0, digits)
    with pytest.raises(UserError, match="would change nothing") as caught:
        plan_enrollment(small_config(), replace(without, **changes), 0, digits)
    assert caught.value.argument == list(changes)[-1]


def test_a_kit_takes_no_more_errors_than_there_are_to_choose_from(digits: Dataset) -> None:
    """Whatever is topped up is no error; the default number is taken as ever."""
    config = small_config()
    most = config.fingerprint.max_natural
    assert plan_enrollment(config, SMALL, 0, digits).probe.fingerprint.n_natural == SMALL.n_errors > most
    plan_enrollment(config, replace(SMALL, n_errors=most), 0, digits)
    with pytest.raises(
        UserError, match=f"n_errors: expected at most fingerprint.max_natural, {most}, .*, got {most + 1};"
    ):
        plan_enrollment(config, replace(SMALL, n_errors=most + 1), 0, digits)


@pytest.mark.parametrize("changes", [{"repeated": 0.5}, {"backbone": True}])
def test_an_owner_trains_siblings_without_a_common_start(changes: dict[str, Any], digits: Dataset) -> None:
    """By a function of its own, or beforehand: what the options say would have no part in it."""
    config = small_config()
    shared = replace(config, siblings=replace(config.siblings, **changes))
    own = OwnerVictim("A", 8, Imported("0" * 64, (), ()))
    plan_enrollment(config, SMALL, 0, digits, own)
    with pytest.raises(UserError, match="expected nothing with a model of your own") as caught:
        plan_enrollment(shared, SMALL, 0, digits, own)
    assert caught.value.argument == f"siblings.{next(iter(changes))}"


def test_too_few_files_of_siblings_are_told_with_what_helps(digits: Dataset) -> None:
    """Without the group sibling nothing stands outside the committee: its numbers are of no help."""
    siblings = tuple(Imported(str(i) * 64, (), ()) for i in range(1, 3))
    own = OwnerVictim("A", 8, Imported("0" * 64, (), ()), "a" * 64, 700, siblings=siblings)
    requirements = replace(SMALL, groups=("homologous",), n_committee=5)
    said = r"expected 5 files for the committee, got 2; give more, or lower n_committee$"
    with pytest.raises(UserError, match=said) as caught:
        plan_enrollment(small_config(), requirements, 0, digits, own)
    assert caught.value.argument == "siblings"


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("changes", [{"size": "light"}, {"n_committee": 0, "groups": ("homologous", "same_data")}])
def test_what_a_preset_sets_is_taken(name: str, changes: dict[str, Any]) -> None:
    requirements = EnrollConfig(n_test=10, **changes)
    check_enroll_config(requirements)
    check_no_unused_field(enroll_preset(name), enroll_preset(name), requirements)


@pytest.mark.parametrize("command", [enroll.COMMAND, kit_power.COMMAND, kit_robustness.COMMAND])
def test_the_names_of_what_is_set_exist(command: Any) -> None:
    """A field that was renamed would be offered again."""
    default = command.default([])
    hidden = {option.name for option in command.options_from(default, unused=True)}
    for name in command.unused:
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
