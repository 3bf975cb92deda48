"""A register comes with its kit, once: enrolling again does not make up for one that was removed."""

from dataclasses import replace
from pathlib import Path

import pytest
from toy_kit import churn_kit, toy_kit

from uapfp_dist.config.presets import PRESETS
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.launch import save_kit as module
from uapfp_dist.launch.enrollment import run_enrollment
from uapfp_dist.launch.save_kit import save_with_register
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.plan import plan_enrollment
from uapfp_dist.verification.kit.io import load_kit
from uapfp_dist.verification.register.register import Register, register_path


def test_a_new_kit_has_an_empty_register(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "kit"
    assert save_with_register(churn_kit(), folder) == load_kit(folder).digest
    before = register_path(folder).read_bytes()
    assert Register.open(register_path(folder), load_kit(folder).digest).looks == ()
    save_with_register(churn_kit(), folder)
    assert register_path(folder).read_bytes() == before


@pytest.mark.parametrize("lose", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["removed", "emptied"])
def test_one_that_is_gone_is_not_made_up_for(lose: object, tmp_path: Path) -> None:
    folder = tmp_path / "kit"
    save_with_register(churn_kit(), folder)
    lose(register_path(folder))  # type: ignore[operator]
    with pytest.raises(UserError, match="restore it from a copy") as refused:
        save_with_register(churn_kit(), folder)
    assert str(refused.value).isprintable()
    assert not register_path(folder).exists() or not register_path(folder).read_bytes()


def test_a_kit_that_cannot_be_saved_leaves_no_register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a folder of something else."""

    def full(*given: object) -> str:
        raise UserError("kit: expected a folder that can be written (No space left on device)")

    monkeypatch.setattr(module, "save_kit", full)
    with pytest.raises(UserError, match="No space left"):
        save_with_register(churn_kit(), tmp_path / "kit")
    monkeypatch.undo()
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="is not this kit"):
        save_with_register(churn_kit(), tmp_path / "other")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="register"):
        save_with_register(churn_kit(), tmp_path / "file" / "kit")
    assert {path.name for path in tmp_path.iterdir()} == {"other", "file"}


def test_a_crash_after_the_register_is_no_loss(tmp_path: Path) -> None:
    """The kit is saved by the next try."""
    kit = churn_kit()
    Register.open(register_path(tmp_path / "kit"), kit.digest, create=True)
    assert save_with_register(kit, tmp_path / "kit") == kit.digest


def test_a_kit_without_churn_points_has_none(tmp_path: Path) -> None:
    save_with_register(toy_kit(), tmp_path / "kit")
    save_with_register(toy_kit(), tmp_path / "kit")
    assert not register_path(tmp_path / "kit").exists()


def test_enrolling_again_without_it_is_refused_before_anything_is_trained(digits: Dataset, tmp_path: Path) -> None:
    config, wanted = PRESETS["digits"], EnrollConfig()
    plan = plan_enrollment(config, wanted, 0, digits)
    kit = churn_kit()
    save_with_register(replace(kit, info=replace(kit.info, enrollment=plan.id)), tmp_path / "kit")
    register_path(tmp_path / "kit").unlink()
    runtime = RuntimeConfig(workers=0, storage=str(tmp_path / "store"), mlflow_uri=f"sqlite:///{tmp_path / 'ml.db'}")
    with pytest.raises(UserError, match="restore it from a copy"):
        run_enrollment(config, "digits", 0, wanted, runtime, tmp_path / "kit")
    assert not list((tmp_path / "store").rglob("*.safetensors"))
