"""jobs/transfer.py: an encoder of one evaluation on the models of another."""

import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from system import ROOT, run_here, tiny_plan

from uapfp_dist import config as configuration
from uapfp_dist.app import Surroundings
from uapfp_dist.errors import UserError
from uapfp_dist.store import Store


@pytest.fixture(scope="module")
def transfer() -> dict[str, Any]:
    """The script's names."""
    return runpy.run_path(str(ROOT / "jobs" / "transfer.py"))


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Surroundings:
    """A finished tiny evaluation, called `tiny`."""
    plan = tiny_plan()
    monkeypatch.setitem(configuration.PRESETS, "tiny", plan.config)
    run_here(plan, Store(str(tmp_path)))
    return Surroundings(storage=str(tmp_path))


def test_transfer_onto_itself_is_no_transfer(finished: Surroundings, transfer: dict[str, Any]) -> None:
    """The same evaluation twice: both encoders are one."""
    chosen = transfer["Transfer"]("tiny", "tiny", surroundings=finished)
    side = transfer["side"]("tiny", 0, chosen)
    found = transfer["areas"](side, side)
    assert found["own"] == found["transferred"]
    assert set(found["own"]) == {"homologous", "other_victim", "same_data"}


def test_an_unfinished_evaluation_is_named(finished: Surroundings, transfer: dict[str, Any]) -> None:
    """With the command that finishes it."""
    chosen = transfer["Transfer"]("tiny", "tiny", n_points=5, surroundings=finished)
    with pytest.raises(UserError, match=r"not answered; run full_eval.py --preset tiny") as caught:
        transfer["side"]("tiny", 0, chosen)
    assert "--fingerprint.n-points 5" in str(caught.value)


def test_fingerprints_of_another_length_are_refused(finished: Surroundings, transfer: dict[str, Any]) -> None:
    """An encoder of ten points cannot read five."""
    chosen = transfer["Transfer"]("tiny", "tiny", surroundings=finished)
    side = transfer["side"]("tiny", 0, chosen)
    panel = side.panel
    gather = {name: index[:, :5] for name, index in panel.gather.items()}
    shorter = replace(side, panel=replace(panel, views=panel.views[:, :5], gather=gather))
    with pytest.raises(UserError, match="equal numbers of points"):
        transfer["areas"](side, shorter)
