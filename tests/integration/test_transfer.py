"""uapfp transfer: an encoder of one evaluation on the models of another."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from commands import run
from system import copy_store, run_here, tiny, tiny_plan

from uapfp_dist.config import presets as configuration
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.config.schema import Config, SiblingConfig
from uapfp_dist.data import load
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import make_plan
from uapfp_dist.evaluation.transfer import areas
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.launch.transfer import read_side
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.pool import SerialPool

pytestmark = pytest.mark.usefixtures("blank_figures")


def several() -> Config:
    """The tiny evaluation with enough models for an interval over those that are tested."""
    return replace(tiny(), zoo=replace(tiny().zoo, n_piracy=5, n_homologous=6))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeConfig]:
    """A finished tiny evaluation, called `tiny`."""
    plan, folder = tiny_plan(several()), tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(configuration.PRESETS, "tiny", plan.config)
        run_here(plan, Store(str(folder)))
        yield RuntimeConfig(storage=str(folder))


def test_transfer_onto_itself_is_no_transfer(finished: RuntimeConfig) -> None:
    """The same evaluation twice: both encoders are one."""
    side = read_side("tiny", 0, None, resolve(finished))
    found = areas(side, side)
    assert found["own"] == found["transferred"]
    assert set(found["own"]) == {"homologous", "other_victim", "same_data"}


def test_an_encoder_judges_the_models_of_another_data_set(
    finished: RuntimeConfig,
    colour_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From digits to images of another size of nets: by command, AUC with intervals, the target's own beside it."""
    config = replace(several(), data=replace(several().data, name="imagefolder"))
    monkeypatch.setitem(configuration.PRESETS, "colours", config)
    store, images = Store(finished.storage or ""), load("imagefolder", colour_folder)
    plan = make_plan(config, 0, images)
    run_here(plan, store, SerialPool(partial(perform_task, TaskContext(store, colour_folder, torch.device("cpu")))))
    report = Path(store.url, "transfer.json")
    places = ("--storage", store.url, "--data-root", str(colour_folder), "--report", str(report))
    run("transfer", "--source", "tiny", "--target", "colours", *places)
    found = json.loads(report.read_text())
    assert found.keys() == {"own", "transferred"}
    for way in found.values():
        assert 0 <= way["homologous"]["low"] <= way["homologous"]["mean"] <= way["homologous"]["high"] <= 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-2:]] == ["colours", "tiny"]
    assert f"{found['transferred']['homologous']['mean']:.2f} [" in lines[-1]


def test_an_evaluation_of_fewer_methods_is_enough(finished: RuntimeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A preset that compares all methods has churn points and twins that the default of a command leaves out."""
    whole = replace(several(), siblings=SiblingConfig(n_committee=2, n_piracy=1, gate=0.1))
    monkeypatch.setitem(configuration.PRESETS, "tiny", whole)
    plan = make_plan(whole, 0, load("digits", None))
    assert plan.churn is not None
    assert read_side("tiny", 0, None, resolve(finished)).matrix.members[0].role == "victim"


def test_an_unfinished_evaluation_is_named(finished: RuntimeConfig) -> None:
    """With the command that finishes it."""
    with pytest.raises(UserError, match=r"not answered; run uapfp evaluate --preset tiny") as caught:
        read_side("tiny", 0, 5, resolve(finished))
    assert "--fingerprint.n-points 5" in str(caught.value)


def test_models_that_have_not_answered_are_counted(
    finished: RuntimeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are few, so the evaluation is taken; no number is shown as if they had been there."""
    plan = tiny_plan(several())
    store = copy_store(Path(finished.storage or ""), tmp_path / "s", "model", "probe", "answers")
    store.discard(*plan.response(plan.members[-1]).artifact)
    role, report = plan.members[-1].role, tmp_path / "transfer.json"
    run("transfer", "--source", "tiny", "--target", "tiny", "--storage", store.url, "--report", str(report))
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2:] == [
        f"{side} tiny: without 1 {role}, which are not in the storage" for side in ("source", "target")
    ]
    assert json.loads(report.read_text())["missing"] == {"source": {role: 1}, "target": {role: 1}}


def test_fingerprints_of_another_length_are_refused(finished: RuntimeConfig) -> None:
    """An encoder of ten points cannot read five."""
    side = read_side("tiny", 0, None, resolve(finished))
    matrix = side.matrix
    gather = {name: index[:, :5] for name, index in matrix.gather.items()}
    shorter = replace(side, matrix=replace(matrix, views=matrix.views[:, :5], gather=gather))
    with pytest.raises(UserError, match="equal numbers of points"):
        areas(side, shorter)
