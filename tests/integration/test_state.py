"""The state of evaluations, from their storage alone."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import tyro
from commands import exit_code
from system import tiny, tiny_plan

from uapfp_dist.config.command_line import config_flags, evaluation_command, evaluation_flags
from uapfp_dist.config.presets import PRESETS, preset
from uapfp_dist.config.schema import Config
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.evaluation.state import evaluation_states, state_lines, store_failure, store_plan
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.description import describe
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.outcomes import Failed
from uapfp_dist.tasks.specs import ModelSpec


@pytest.fixture
def plan() -> Plan:
    """The tiny evaluation."""
    return tiny_plan()


def keep(store: Store, plan: Plan) -> None:
    """Store the plan, as an evaluation does before its work begins."""
    store_plan(store, plan, "digits", evaluation_flags("digits", plan.seed, plan.config))


@pytest.fixture
def store(tmp_path: Path, plan: Plan) -> Store:
    """A storage in which the tiny evaluation has begun."""
    store = Store(str(tmp_path / "s"))
    keep(store, plan)
    return store


def done(store: Store, spec: Spec) -> None:
    """As if it had been performed."""
    store.put(*spec.artifact, {}, {})


def struck(spec: Spec) -> Failed:
    """A failure with a traceback."""
    return Failed(spec, "RuntimeError: struck (here.py:3)", details="\n".join(f"line {i}" for i in range(9)))


def test_counts_grow_with_what_is_stored(store: Store, plan: Plan) -> None:
    (state,) = evaluation_states(store, pytest.fail)
    assert state.evaluation == plan.id
    assert (state.preset, state.seed, state.report) == ("digits", 0, False)
    assert state.stages == {"zoo": (0, 14), "probe": (0, 1), "answers": (0, 12)}
    models = [spec for spec in plan.specs if isinstance(spec, ModelSpec)]
    for spec in [*models[:3], plan.probe]:
        done(store, spec)
    done(store, replace(models[0], seed=123456))  # another evaluation's
    (state,) = evaluation_states(store, pytest.fail)
    assert state.stages == {"zoo": (3, 14), "probe": (1, 1), "answers": (0, 12)}
    assert state.missing == 11 + 12
    assert state.last is not None
    assert abs(state.last - time.time()) < 60


def test_a_failure_counts_until_the_spec_is_done(store: Store, plan: Plan) -> None:
    broken, lost = plan.members[1].spec, plan.response(plan.members[1])
    store_failure(store, struck(broken))
    store_failure(store, Failed(lost, "needs a model", skipped=True))
    (state,) = evaluation_states(store, pytest.fail)
    assert [failure.id for failure in state.failures] == [broken.id], "what was skipped follows from it"
    text = "\n".join(state_lines(state, "the command", time.time()))
    assert describe(broken) in text
    assert "RuntimeError: struck" in text
    assert "line 8" in text
    assert "line 1" not in text
    done(store, broken)
    assert evaluation_states(store, pytest.fail)[0].failures == ()


def test_the_command_that_resumes_is_shown(store: Store, plan: Plan) -> None:
    """The arguments are those that make this very configuration."""
    (state,) = evaluation_states(store, pytest.fail)
    command = evaluation_command(state.flags, "/a b")
    assert command == f"uapfp evaluate {state.flags} --storage '/a b'"
    assert state.flags.startswith("--preset digits --seed 0 --zoo.width 4")
    *_, last = state_lines(state, command, 0.0)
    assert last.strip() == command
    for spec in plan.specs:
        done(store, spec)
    store.put("report", plan.id, {}, {"failures": []})
    (state,) = evaluation_states(store, pytest.fail)
    assert (state.missing, state.report) == (0, True)
    assert "finished" in "\n".join(state_lines(state, "the command", time.time()))


def test_an_evaluation_that_gave_up_on_models_is_finished(store: Store, plan: Plan) -> None:
    for spec in plan.specs[:-2]:
        done(store, spec)
    store.put("report", plan.id, {}, {"failures": []})
    assert "finished without 2 specs" in "\n".join(
        state_lines(evaluation_states(store, pytest.fail)[0], "the command", time.time())
    )


def everything(config: Config) -> Config:
    """Another value in fields of every type."""
    return replace(
        config,
        zoo=replace(config.zoo, n_other_piracy=(1, 2, 3), overlap=0.25, augment=not config.zoo.augment),
        studies=replace(config.studies, subspace=replace(config.studies.subspace, n_uaps=7), whole_clusters=True),
        modifications=replace(config.modifications, distill_to=None, prune=(0.1,)),
        encoder=replace(config.encoder, loss="autoencoder"),
    )


@pytest.mark.parametrize("name", PRESETS)
def test_flags_lead_back_to_the_configuration(name: str) -> None:
    wanted = everything(preset(name))
    assert tyro.cli(Config, args=config_flags(wanted, preset(name)), default=preset(name)) == wanted
    assert config_flags(wanted, wanted) == []


def test_the_last_one_worked_on_stands_last(store: Store, plan: Plan) -> None:
    other = tiny_plan(replace(tiny(), verdict=replace(tiny().verdict, n_train=1)))
    keep(store, other)
    assert {state.evaluation for state in evaluation_states(store, pytest.fail)} == {plan.id, other.id}
    assert {json.dumps(state.stages) for state in evaluation_states(store, pytest.fail)} == {
        json.dumps(evaluation_states(store, pytest.fail)[0].stages)
    }


def test_a_plan_is_kept_once(store: Store, plan: Plan, tmp_path: Path) -> None:
    (path,) = (tmp_path / "s" / "plan").iterdir()
    before = path.read_bytes()
    keep(store, plan)
    assert path.read_bytes() == before


def test_a_look_changes_nothing(store: Store, tmp_path: Path) -> None:
    before = sorted(path.name for path in (tmp_path / "s").rglob("*"))
    evaluation_states(store, pytest.fail)
    assert sorted(path.name for path in (tmp_path / "s").rglob("*")) == before


def test_the_command(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("status", "--storage", str(tmp_path / "s")) == 0
    assert "zoo 0/14, probe 0/1, answers 0/12" in capsys.readouterr().out
    assert exit_code("status", "--storage", f"file://{tmp_path / 's'}", "--json") == 0
    (state,) = json.loads(capsys.readouterr().out)
    assert state["stages"]["zoo"] == [0, 14]


def test_a_storage_that_is_none_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("status", "--storage", str(tmp_path / "nowhere")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--storage" in line
    assert not (tmp_path / "nowhere").exists()


def test_a_torn_failure_is_a_task_that_was_never_tried(store: Store, plan: Plan) -> None:
    broken = plan.members[1].spec
    store_failure(store, struck(broken))
    file = Path(store.path("failure", broken.id))
    file.write_bytes(file.read_bytes()[:-3])
    (state,) = evaluation_states(store, pytest.fail)
    assert state.failures == ()
    assert state.missing == len(plan.specs)


def test_a_torn_plan_is_said(store: Store, plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    file = Path(store.path("plan", plan.id))
    file.write_bytes(file.read_bytes()[:-3])
    assert exit_code("status", "--storage", store.url) == 0
    assert f"its plan {plan.id} is torn; the command that started it resumes it" in capsys.readouterr().err
