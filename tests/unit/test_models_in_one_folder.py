"""`verify` of models in this process: each is known by its weights, so that none gets the verdict of another."""

import warnings
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
from toy_kit import churn_kit, negative, trained

import uapfp_dist as ufp
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification.kit.io import save_kit
from uapfp_dist.verification.register.register import Register, register_path

pytestmark = pytest.mark.usefixtures("blank_figures")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A kit for three suspects, with its register."""
    kit = churn_kit("light", 59)
    kit = replace(kit, info=replace(kit.info, max_suspects=3))
    digest = save_kit(kit, tmp_path / "kit")
    Register.open(register_path(tmp_path / "kit"), digest, create=True)
    return tmp_path / "kit"


def test_a_model_does_not_get_the_verdict_of_another(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert ufp.verify(folder, trained(0), out=out).claim == "piracy"
    page = (out / "verdict.html").read_bytes()
    with pytest.raises(ufp.UserError, match="expected a new folder, or this verification's own") as refused:
        ufp.verify(folder, negative(), out=out)
    assert "\n" not in str(refused.value)
    assert (out / "verdict.html").read_bytes() == page
    assert ufp.verify(folder, negative(), out=tmp_path / "other").claim == "inconclusive"


def test_the_same_model_again_is_told_that_nothing_was_sent(folder: Path, tmp_path: Path) -> None:
    """It is known by its weights, not by the object."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = ufp.verify(folder, trained(0), out=tmp_path / "out")
    with pytest.warns(UserWarning, match="nothing was sent, answers of .* for another model name another out"):
        again = ufp.verify(folder, deepcopy(trained(0)), out=tmp_path / "out")
    assert (again.claim, again.p_adjusted, again.register) == (first.claim, first.p_adjusted, first.register)


def test_models_of_one_class_are_not_of_one_operator(folder: Path) -> None:
    """Nobody has seen the points that a model in this process was sent: a set is not spent for the next one."""
    verdicts = [ufp.verify(folder, net) for net in (negative(), trained(2), trained(3))]
    assert len({verdict.name for verdict in verdicts}) == 3
    assert [verdict.churn and verdict.churn.point_set for verdict in verdicts] == [0, 0, 0]


def test_an_address_that_answered_before_is_told_too(folder: Path, tmp_path: Path) -> None:
    suspect = SuspectConfig(at="toy_suspects:copied", name="s")
    ufp.verify(folder, suspect, out=tmp_path / "out")
    with pytest.warns(UserWarning, match="s: nothing was sent"):
        ufp.verify(folder, suspect, out=tmp_path / "out")
