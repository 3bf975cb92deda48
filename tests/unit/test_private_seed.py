"""The seed of an enrolment is private unless it is given: beside the kit, nowhere else."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from small_enrollment import SMALL, small_config

from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.errors import UserError
from uapfp_dist.launch import enrollment
from uapfp_dist.launch.enrollment import run_enrollment
from uapfp_dist.launch.private_seed import draw_seed, read_seed, seed_file, write_seed
from uapfp_dist.response_format import PROBABILITIES
from uapfp_dist.verification.enrollment.enroll import enroll
from uapfp_dist.verification.kit.io import load_kit
from uapfp_dist.verification.kit.kit import Kit

FEW = replace(SMALL, groups=("homologous",), labels=(PROBABILITIES,), attacks=("knockoff",), n_train_piracy=2)


def enrolled(place: Path, seed: int | None, out: str = "kit") -> Kit:
    """By the job's code, in this process."""
    runtime = RuntimeConfig(storage=str(place / "s"), workers=0, mlflow_uri=f"sqlite:///{place}/mlflow.db")
    return run_enrollment(small_config(), "digits", seed, FEW, runtime, place / out)


def mentions(place: Path, text: str) -> set[str]:
    """Files under `place` with that text in them."""
    return {path.name for path in place.rglob("*") if path.is_file() and text.encode() in path.read_bytes()}


def test_a_private_seed_is_beside_the_kit_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is there before anything is trained; the same command goes on with it."""
    seen = []

    def interrupted(plan: enrollment.EnrollmentPlan, *_: object) -> Kit:
        seen.append(plan)
        raise KeyboardInterrupt

    monkeypatch.setattr(enrollment, "enroll", interrupted)
    with pytest.raises(KeyboardInterrupt):
        enrolled(tmp_path, None)
    monkeypatch.setattr(enrollment, "enroll", enroll)
    path = tmp_path / "kit.seed"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kit = enrolled(tmp_path, None)
    seed = read_seed(tmp_path / "kit")
    assert seed == seen[0].seed
    assert kit.info.enrollment == seen[0].id
    assert kit.info.seed is None
    assert load_kit(tmp_path / "kit").info == kit.info
    assert any("private seeds" in limit for limit in kit.info.limits)
    assert mentions(tmp_path, str(seed)) == {"kit.seed"}
    written = "".join(capfd.readouterr())
    assert str(seed) not in written
    assert f"{seed:x}" not in written


def test_a_given_seed_is_told(tmp_path: Path) -> None:
    """Nothing is written beside the kit; what is written there for another enrolment is not read."""
    kit = enrolled(tmp_path, 1234567)
    assert kit.info.seed == 1234567
    assert not seed_file(tmp_path / "kit").exists()
    assert any("the seed 1234567, which was given" in limit for limit in kit.info.limits)
    with pytest.raises(UserError, match=r"another enrolment, made with other options, .*or the options of before$"):
        enrolled(tmp_path, None)
    assert not seed_file(tmp_path / "kit").exists(), "the seed of no kit"
    write_seed(tmp_path / "kit", 5)
    assert enrolled(tmp_path, 1234567).digest == kit.digest


def test_nothing_is_drawn_for_what_cannot_be_enrolled(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="alpha"):
        run_enrollment(
            small_config(),
            "digits",
            None,
            replace(FEW, alpha=2.0),
            RuntimeConfig(storage=str(tmp_path / "s"), workers=0),
            tmp_path / "kit",
        )
    assert not list(tmp_path.iterdir())


def test_seeds_are_large_and_never_the_same(tmp_path: Path) -> None:
    found = [draw_seed() for _ in range(200)]
    assert len(set(found)) == 200
    assert max(found).bit_length() == 63
    assert all(0 <= seed < 2**63 for seed in found)
    for number, seed in enumerate([*found[:5], 0, 2**63 - 1]):
        write_seed(tmp_path / f"made/{number}", seed)
        assert read_seed(tmp_path / f"made/{number}") == seed
    assert "beside the kit, not in it" in seed_file(tmp_path / "made/0").read_text()
    assert len(list((tmp_path / "made").iterdir())) == 7
    assert read_seed(tmp_path / "none") is None


@pytest.mark.parametrize(
    "content", [b"", b"# nothing", b"x", b"-1", b"1.5", b"1\n2", b"9" * 30, b"\xff\xfe", "\u0663".encode()]
)
def test_files_that_hold_no_seed_are_refused(content: bytes, tmp_path: Path) -> None:
    """Drawing another would begin anew, unnoticed."""
    seed_file(tmp_path / "kit").write_bytes(content)
    with pytest.raises(UserError, match="seed: expected") as caught:
        read_seed(tmp_path / "kit")
    assert "\n" not in str(caught.value)


def test_a_seed_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="out: expected a folder in which the seed can be kept"):
        write_seed(tmp_path / "file" / "kit", 1)
    seed_file(tmp_path / "kit").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        write_seed(tmp_path / "kit", 1)
    with pytest.raises(UserError, match="can be read"):
        read_seed(tmp_path / "kit")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "kit.seed"], "nothing is left half-written"
