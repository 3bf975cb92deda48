"""uapfp enroll and kit-power: bad input is one line, before anything is trained."""

import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import owners_training
import pytest
import torch
from commands import parsed, run
from kits import make_test_kit
from safetensors.torch import save_file
from small_enrollment import SMALL, enrollment_flags, run_here, small_config, small_plan
from system import ROOT
from toy_kit import toy_kit

from uapfp_dist.cli import kit_power as kit_power_command
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.config.schema import Config
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.launch import kit_power
from uapfp_dist.launch.enrollment import run_enrollment
from uapfp_dist.response_format import PROBABILITIES
from uapfp_dist.storage.store import Store
from uapfp_dist.verification.enrollment.derived_config import enroll_preset
from uapfp_dist.verification.enrollment.same_enrollment import check_same_enrollment
from uapfp_dist.verification.judging.accusation_rates import measure_rates
from uapfp_dist.verification.kit.io import load_kit, save_kit
from uapfp_dist.verification.reports.rates_over_zoos import rows


def test_a_kit_that_is_there_must_be_the_one_asked_for(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zoos of one table have one configuration; the kit says which."""
    save_kit(run_here(small_plan(digits), digits, Store(str(tmp_path / "s"))), tmp_path / "digits-0")
    kit = load_kit(tmp_path / "digits-0")
    check_same_enrollment(kit, small_config(), SMALL, 0, digits, tmp_path)
    assert kit.info.configuration is not None
    zoo = {name: value for name, value in kit.info.configuration["zoo"].items() if name != "augment"}
    older = replace(kit, info=replace(kit.info, configuration=kit.info.configuration | {"zoo": zoo}))
    check_same_enrollment(older, small_config(), SMALL, 0, digits, tmp_path)
    untold = replace(kit, info=replace(kit.info, data=None))
    check_same_enrollment(untold, small_config(), SMALL, 0, digits.first(9), tmp_path)
    with pytest.raises(UserError, match=f"on the images at hand .* have digest {digits.digest}; name another") as other:
        check_same_enrollment(kit, small_config(), SMALL, 0, digits.first(9), tmp_path)
    assert "\n" not in str(other.value)
    slower = replace(small_config(), zoo=replace(small_config().zoo, epochs=5.0))
    for config, requirements, seed, said in (
        (slower, SMALL, 0, "zoo.epochs 5.0, it says 4.0"),
        (small_config(), replace(SMALL, n_errors=7), 0, "enroll.n_errors 7, it says 100"),
        (small_config(), SMALL, 1, "seed 1, it says 0"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            check_same_enrollment(kit, config, requirements, seed, digits, tmp_path)
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(kit_power, "run_enrollment", lambda *_: pytest.fail("enrolled before the others are seen"))
    with monkeypatch.context() as other_images:
        other_images.setattr(kit_power, "load_images", lambda *_: digits.first(9))
        with pytest.raises(UserError, match="digits-0: expected one enrolled on the images at hand"):
            kit_power.measure_kits("digits", small_config(), (5, 0), tmp_path, SMALL, None, RuntimeConfig())
    with pytest.raises(UserError, match=r"digits-0: expected one enrolled with .* more differ"):
        run("kit-power", "--out", str(tmp_path), "--seeds", "5", "0")


def test_kit_power_takes_every_field_of_an_enrolment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another victim, another precision; where nothing is said, the preset as it is enrolled."""
    seen: list[Config] = []
    monkeypatch.setattr(kit_power_command, "measure_kits", lambda name, config, *_: seen.append(config))
    run("kit-power", "--preset", "fashion_mnist-small", "--zoo.victim-architecture", "D", "--precision", "bfloat16")
    run("kit-power")
    expected = enroll_preset("fashion_mnist-small")
    assert seen[0] == replace(expected, zoo=replace(expected.zoo, victim_architecture="D"), precision="bfloat16")
    assert seen[1] == enroll_preset("digits")


def test_rates_over_zoos_are_one_table() -> None:
    """A line per kind of model and format; the method that decides stands first."""
    kit = make_test_kit()
    rates = [measure_rates(kit)] * 2
    _, _, *lines = rows(rates, lambda found: found.power)
    assert [line.split(" | ")[:2] for line in lines[:2]] == [["| all", "prob"], ["| cloudleak:hard", "prob"]]
    n, of = rates[0][PROBABILITIES].weighted_errors.power["all"]
    assert f"({2 * n}/{2 * of})" in lines[0]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--preset", "enormous"), "enormous"),
        (("--alpha", "2"), "alpha"),
        (("--groups", "cousins"), "cousins"),
        (("--attacks", "gan"), "gan"),
        (("--model", "owner.onnx", "--architecture", "A"), "no gradients"),
        (("--model", "owner.pkl", "--architecture", "A"), "No such file"),
        (("--model", "owner.safetensors"), "--architecture"),
        (("--mean", "0.5"), "--model"),
        (("--train", "mine:train"), "--model"),
        (("--siblings", "mine"), "--model"),
        (("--out", "."), "out"),
        (("--data.name", "imagefolder"), "--data-root"),
        (("--labels", "top0"), "(option --labels)"),
        (("--formats", "label", "loud"), "(option --formats)"),
        # what an enrolment sets is no option: the error names what it follows from
        (("--zoo.victim-architecture", "nosuch"), "(option --zoo.victim-architecture)"),
        (("--fingerprint.max-natural", "2000000"), "(option --fingerprint.max-natural)"),
        (("--alpha", "0.00001"), "(option --alpha)"),
        (("--n-train-piracy", "10000", "--n-test-piracy", "9000"), "(option --n-train-piracy)"),
        (("--n-train-piracy", "9000", "--n-test-piracy", "10000"), "(option --n-test-piracy)"),
    ],
)
def test_the_job_refuses_in_one_line(
    arguments: tuple[str, ...],
    word: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Before anything is trained."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(ROOT / "jobs" / "enroll.py"), *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "jobs" / "enroll.py"), run_name="__main__")
    err = capfd.readouterr().err.splitlines()
    assert end.value.code == 2
    assert len(err) == 1
    assert err[0].startswith("enroll: error: ")
    assert word in err[0]
    assert not list(tmp_path.rglob("*.safetensors"))


def owners_arguments(digits: Dataset, folder: Path, function: str) -> list[str]:
    """Of an enrolment of a model that lies in `folder`, whose siblings `function` trains."""
    index = torch.arange(0, 900, 2)
    net = owners_training.train(digits.pixels(index), digits.labels[index], 1, torch.device("cpu"))
    save_file(net.state_dict(), folder / "mine.safetensors")
    (folder / "mine.txt").write_text("\n".join(map(str, index.tolist())))
    files = ("--model", "mine.safetensors", "--architecture", "owners_net:make", "--trained-on", "mine.txt")
    return [*files, "--train", f"owners_training:{function}", "--workers", "0", *enrollment_flags(small_config())]


def ended_in_one_line(code: object, err: str, function: str, word: str, folder: Path) -> None:
    """Exit code 2 and no kit; the seed is kept, so that the same command resumes."""
    error = err.splitlines()[-1]
    assert code == 2
    assert error.startswith(f"enroll: error: train owners_training:{function}: expected ")
    assert word in error
    assert error.endswith("(option --train)")
    assert "Traceback" not in err
    assert (folder / "kit.seed").exists()
    assert not (folder / "kit").exists()


def test_a_training_function_that_fails_ends_the_job_in_one_line(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = owners_arguments(digits, tmp_path, "fails")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(ROOT / "jobs" / "enroll.py"), *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "jobs" / "enroll.py"), run_name="__main__")
    word = "failed (ZeroDivisionError: at once, owners_training.py"
    ended_in_one_line(end.value.code, capfd.readouterr().err, "fails", word, tmp_path)


@pytest.mark.slow
def test_a_training_function_that_never_ends_ends_the_job_in_one_line(digits: Dataset, tmp_path: Path) -> None:
    """As a process: its thread goes on until the job is gone."""
    arguments = [*owners_arguments(digits, tmp_path, "never_ends"), "--spec-timeout", "0.5"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
    done = subprocess.run(
        [sys.executable, str(ROOT / "jobs" / "enroll.py"), *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    ended_in_one_line(done.returncode, done.stderr, "never_ends", "within 0.45 s, got none", tmp_path)


def test_another_enrolments_kit_is_seen_before_anything_is_trained(tmp_path: Path) -> None:
    """Not after an hour of it, when the new one is to be written there."""
    save_kit(toy_kit(), tmp_path / "kit")
    chosen = parsed("enroll", "--out", str(tmp_path / "kit"), "--storage", str(tmp_path / "s"), "--workers", "0")
    parts = chosen.config, chosen.preset, chosen.seed, chosen.requirements, chosen.runtime, chosen.out
    with pytest.raises(UserError, match="the kit of another enrolment"):
        run_enrollment(*parts)
    assert not list((tmp_path).rglob("model/*"))


def test_the_configuration_is_the_presets() -> None:
    options = ("--preset", "digits-large", "--alpha", "0.1", "--groups", "homologous", "same_data")
    chosen = parsed("enroll", *options)
    assert isinstance(chosen.config, Config)
    assert chosen.config.zoo.width == 16
    assert (chosen.requirements.alpha, chosen.requirements.groups) == (0.1, ("homologous", "same_data"))
