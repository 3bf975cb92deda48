"""Which methods are compared changes what is judged, not what is trained, and no number of a row that remains."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import exit_code
from commands import parsed as parse
from system import copy_store, tiny_with_siblings

from uapfp_dist.config.command_line import evaluation_flags
from uapfp_dist.config.methods import DEFAULTS, with_all_methods, with_methods, with_possible_methods
from uapfp_dist.config.presets import PRESETS, preset
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.config.schema import Config, SiblingConfig
from uapfp_dist.config.validation import check
from uapfp_dist.errors import UserError
from uapfp_dist.execution.probe_artifacts import read_probe
from uapfp_dist.fingerprints.methods.registry import METHODS, PROBE_METHODS, REFERENCE_METHODS
from uapfp_dist.launch.evaluation import run
from uapfp_dist.storage.store import Store

MADE = ("model", "probe", "probe_twin", "churn", "churn_answers", "answers", "splits")
"""Kinds of artifacts that are made before the judging."""

pytestmark = pytest.mark.usefixtures("blank_figures")


def evaluate(config: Config, storage: Path) -> dict[str, Any]:
    """The report of an evaluation in this process."""
    report = storage.parent / f"{storage.name}.json"
    run(config, "digits", 0, RuntimeConfig(storage=str(storage), workers=0, report=report))
    found: dict[str, Any] = json.loads(report.read_text())
    return found


@pytest.fixture(scope="module")
def by_all(blank_figures: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Storage and report of an evaluation that compares all methods."""
    storage = tmp_path_factory.mktemp("all") / "storage"
    return storage, evaluate(tiny_with_siblings(), storage)


def test_fewer_methods_give_the_same_numbers(by_all: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Verdicts, areas, rates: fitted anew, from the same models and responses."""
    storage, every = by_all
    copy_store(storage, tmp_path / "storage", *MADE)
    some = evaluate(with_methods(tiny_with_siblings(), "digits"), tmp_path / "storage")
    assert set(some["auc"]) == set(DEFAULTS["digits"])
    for key in ("auc", "auc_detail", "auc_soft_piracy", "tpr", "choices"):
        assert some[key] == {method: every[key][method] for method in some[key]}
    for key in ("verdicts", "false_accusation", "power", "uap", "calibration"):
        assert some[key] == every[key]
    assert some["models"]["trained"] == 0
    assert some["evaluation"] != every["evaluation"]


def test_resamples_by_all_methods_are_read(
    by_all: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is fitted again for rows that are there."""
    storage, every = by_all
    copy_store(storage, tmp_path / "storage", *MADE, "draw")
    monkeypatch.setattr("uapfp_dist.fingerprints.methods.encoder_method.fit_tasks", None)
    some = evaluate(with_methods(tiny_with_siblings(), "digits", ("uap", "random")), tmp_path / "storage")
    assert list(some["auc"]) == ["uap", "weighted_errors", "random"]
    assert all(some["auc_detail"][method] == every["auc_detail"][method] for method in some["auc"])


def test_other_churn_points_are_scored_anew(by_all: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Nothing but the churn points changes: models, probe and responses to it are there, and so are scores."""
    storage, every = by_all
    copy_store(storage, tmp_path / "storage", *MADE, "draw")
    base = tiny_with_siblings()
    other = evaluate(replace(base, churn=replace(base.churn, rotation=30.0)), tmp_path / "storage")
    assert len(list((tmp_path / "storage" / "draw").iterdir())) == 2 * len(list((storage / "draw").iterdir()))
    assert other["auc_detail"]["uap"] == every["auc_detail"]["uap"]


def test_references_tell_what_xi_was_not_chosen_on(by_all: tuple[Path, dict[str, Any]]) -> None:
    """The paper's UAP on EVAL, and true labels of the natural errors; on points of PROBE neither."""
    storage, _ = by_all
    store = Store(str(storage))
    found = [read_probe(store.get("references", path.stem)) for path in (storage / "references").glob("*.safetensors")]
    (own,) = [probe for probe in found if probe.natural_truth is not None]
    assert len(found) == 2
    assert 0.0 <= (own.summary.fooling_on_eval or 0.0) <= 1.0
    assert [probe.summary.fooling_on_eval is None for probe in found].count(True) == 1


def test_a_report_by_all_methods_is_shown(by_all: tuple[Path, dict[str, Any]]) -> None:
    """One of before holds every row that is wanted: it is shown, and nothing is judged again."""
    storage, every = by_all
    before = {path.name for path in storage.rglob("*.safetensors")}
    shown = evaluate(with_methods(tiny_with_siblings(), "digits"), storage)
    assert shown["evaluation"] == every["evaluation"]
    assert shown["auc"] == every["auc"]
    assert {path.name for path in storage.rglob("*.safetensors")} == before


def test_a_stored_report_keeps_its_environment_and_wall_time(
    by_all: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it is shown; today's fill in for one by earlier code, which kept neither."""
    storage, every = by_all
    store, of_the_run = copy_store(storage, tmp_path / "storage"), ("environment", "wall_seconds")
    elsewhere = {**every["environment"], "machine": "elsewhere"}
    monkeypatch.setattr("uapfp_dist.launch.evaluation.environment", lambda: elsewhere)
    kept = store.get("report", every["evaluation"]).info
    for report in (kept, evaluate(tiny_with_siblings(), tmp_path / "storage")):
        assert [report[name] for name in of_the_run] == [every[name] for name in of_the_run]
    assert kept["wall_seconds"] >= kept["stage_seconds"]["judging"]
    earlier = {name: value for name, value in kept.items() if name not in of_the_run}
    store.put("report", every["evaluation"], {}, earlier)
    filled = evaluate(tiny_with_siblings(), tmp_path / "storage")
    assert filled["environment"] == elsewhere
    assert filled["wall_seconds"] > 0


def test_the_default_is_small_and_all_is_as_before() -> None:
    assert all(len(methods) <= 8 and set(methods) <= set(METHODS) for methods in DEFAULTS.values())
    for name in PRESETS:
        assert with_methods(preset(name), name, ("all",)) == with_all_methods(preset(name)) == preset(name)
        chosen = with_methods(preset(name), name)
        assert chosen == preset(name) or name in DEFAULTS
        assert {"uap", "weighted_errors", chosen.verdict.decided_by} <= set(chosen.verdict.compared)
        assert preset(name).verdict.methods == tuple(METHODS)


def test_the_help_counts_the_methods_of_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    n = {len(with_methods(preset(name), name).verdict.compared) for name in DEFAULTS}
    assert (set(DEFAULTS), n) == ({"digits"}, {8})
    assert exit_code("evaluate", "--help") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "default (eight for digits, else all)" in said


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_without_siblings_there_are_no_methods_of_siblings(name: str) -> None:
    """Neither by default nor among all; asked for by name they are refused in a line that says what to do."""
    without = replace(preset(name), siblings=SiblingConfig())
    default, every = with_methods(without, name), with_methods(without, name, ("all",))
    assert every == with_all_methods(without) == with_possible_methods(without)
    assert every.verdict.methods == tuple(PROBE_METHODS | REFERENCE_METHODS)
    assert set(default.verdict.methods) <= set(every.verdict.methods)
    check(default)
    with pytest.raises(UserError, match=r"siblings\.n_committee: expected siblings for churn, got none") as caught:
        check(with_methods(without, name, ("uap", "churn")))
    assert caught.value.argument == "siblings.n_committee"


@pytest.mark.parametrize("names", [("default",), ("all",), ("sac", "lap")])
@pytest.mark.parametrize("name", ["digits", "digits-large"])
def test_the_command_that_resumes_compares_the_same(name: str, names: tuple[str, ...]) -> None:
    config = with_methods(preset(name), name, names)
    parsed = parse("evaluate", *evaluation_flags(name, 3, config).split())
    assert with_methods(parsed.config, name, parsed.methods) == config
    with_more = replace(config, verdict=replace(config.verdict, methods=("uap",)))
    assert with_methods(with_more, name) == with_more


@pytest.mark.parametrize(("names", "words"), [(("uap", "magic"), "unknown method 'magic'"), (("all", "uap"), "'all'")])
def test_unknown_methods_are_refused(names: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        with_methods(preset("digits"), "digits", names)


def test_two_lists_of_methods_are_refused() -> None:
    config = preset("digits")
    both = replace(config, verdict=replace(config.verdict, methods=("uap", "sac")))
    with pytest.raises(UserError, match="got both"):
        with_methods(both, "digits", ("all",))


@pytest.mark.parametrize("option", ["--methods", "--verdict.methods"])
def test_every_method_named_is_every_method_compared(option: str) -> None:
    """Also where the names are those of the preset, whose default is fewer."""
    chosen = parse("evaluate", option, *METHODS)
    assert with_methods(chosen.config, chosen.preset, chosen.methods).verdict.methods == tuple(METHODS)


def test_methods_are_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("evaluate", "--methods", "all", "--verdict.methods", "uap") == 2
    assert "methods: expected once, got it under an earlier name, too" in capsys.readouterr().err
