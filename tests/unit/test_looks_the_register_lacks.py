"""Looks made without the register, or whose lines were removed from it, count for nobody."""

from dataclasses import replace
from pathlib import Path

import pytest
from toy_kit import churn_kit

from uapfp_dist.errors import UserError
from uapfp_dist.launch.verification import replay_beside
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification.kit.io import save_kit, with_digest
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.querying.transcript_files import transcript_path
from uapfp_dist.verification.register.register import Register, register_path
from uapfp_dist.verification.replay import JudgedSuspect
from uapfp_dist.verification.reports.verdict_folder import write_verdict
from uapfp_dist.verification.verify import verify

pytestmark = pytest.mark.usefixtures("quick_retries", "blank_figures")


@pytest.fixture
def kit() -> Kit:
    """For three suspects."""
    kit = churn_kit("light", 59)
    return with_digest(replace(kit, info=replace(kit.info, max_suspects=3)))


@pytest.fixture
def path(kit: Kit, tmp_path: Path) -> Path:
    """The register of that kit, at its start."""
    save_kit(kit, tmp_path / "kit")
    path = register_path(tmp_path / "kit")
    Register.open(path, kit.digest, create=True)
    return path


def look(kit: Kit, out: Path, path: Path | None, at: str = "toy_suspects:copied", name: str = "s") -> JudgedSuspect:
    """One, with the register or without; its verdict is written."""
    register = None if path is None else Register.open(path, kit.digest)
    how = QueryConfig(anyway=True, tries=1)
    cases = verify(kit, [SuspectConfig(at=at, name=name, operator=name)], out, how, register=register)
    write_verdict(out, kit, cases)
    return cases[0]


def test_a_look_made_without_the_register_is_not_taken_over(kit: Kit, path: Path, tmp_path: Path) -> None:
    """Whoever looks at many without it cannot register the best look afterwards."""
    look(kit, tmp_path / "out", None)
    before = path.read_bytes(), (tmp_path / "out" / "verdict.json").read_bytes()
    with pytest.raises(UserError, match=r"a look that the register .* does not hold.*nothing was sent") as refused:
        look(kit, tmp_path / "out", path)
    assert str(refused.value).isprintable()
    assert (path.read_bytes(), (tmp_path / "out" / "verdict.json").read_bytes()) == before
    assert look(kit, tmp_path / "out", None).verdict.claim == "piracy"
    assert look(kit, tmp_path / "new", path).verdict.claim == "piracy"


def test_a_look_whose_lines_were_removed_is_not_reserved_again(kit: Kit, path: Path, tmp_path: Path) -> None:
    start = path.read_bytes()
    look(kit, tmp_path / "a", path)
    path.write_bytes(start)
    (tmp_path / "a" / "verdict.json").unlink()
    with pytest.raises(UserError, match="lines were removed from it"):
        look(kit, tmp_path / "a", path)
    assert path.read_bytes() == start


def test_a_verdict_finds_out_that_its_register_was_cut(kit: Kit, path: Path, tmp_path: Path) -> None:
    """By the head that it names: when it is made again, and when it is replayed; nothing is written."""
    look(kit, tmp_path / "first", path, "toy_suspects:noisy", "other")
    cut = path.read_bytes()
    look(kit, tmp_path / "second", path)
    whole = path.read_bytes()
    path.write_bytes(b"".join(cut.splitlines(keepends=True)[:1]))
    said = r"expected to find the head .*verdict\.json names, it does not contain it"
    with pytest.raises(UserError, match=said):
        look(kit, tmp_path / "second", path)
    with pytest.raises(UserError, match=said):
        replay_beside(kit, tmp_path / "kit", [transcript_path(tmp_path / "second", "s")])
    path.write_bytes(whole)
    assert look(kit, tmp_path / "second", path).verdict.claim == "piracy"
    assert replay_beside(kit, tmp_path / "kit", [transcript_path(tmp_path / "second", "s")])


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 10_000, '{"kit": "1", "suspects": 3}', '{"suspects": [1]}'])
def test_another_verdict_file_is_none_of_ours(text: str, kit: Kit, path: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "verdict.json").write_text(text)
    assert look(kit, tmp_path / "out", path).verdict.claim == "piracy"
