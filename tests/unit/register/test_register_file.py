"""The file of a register: begun on request, of one kit, locked, and whole when the disk fails."""

import os
from pathlib import Path

import pytest
from registers import KIT, error_of, look

from uapfp_dist.verification.register import chained_file
from uapfp_dist.verification.register.register import Register, register_path

# -- faults ----------------------------------------------------------------------------------------------------------


def test_nothing_is_begun_unless_that_is_wanted(path: Path) -> None:
    assert "there is none; restore it from a copy" in error_of(lambda: Register.open(path, KIT))
    assert not path.exists()
    assert Register.open(path, KIT, create=True).looks == ()
    before = path.read_bytes()
    assert Register.open(path, KIT, create=True).head == Register.open(path, KIT).head
    assert path.read_bytes() == before


def test_another_kits_register(register: Register, path: Path) -> None:
    said = error_of(lambda: Register.open(path, "b" * 64))
    assert "it is of kit aaaaaaaaaaaaaaaa..., this one is bbbbbbbbbbbbbbbb..." in said


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe", "pipe/x", "missing/x", "x" * 300):
        for create in (True, False):
            said = error_of(lambda name=name, create=create: Register.open(tmp_path / name, KIT, create=create))  # type: ignore[misc]
            assert said.startswith("register ")


def test_a_file_that_cannot_be_written_is_read_and_nothing_is_sent(
    full: list[bytes], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = os.open

    def read_only(name: Path, flags: int, *mode: int) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return really(name, flags, *mode)

    monkeypatch.setattr(os, "open", read_only)
    register = Register.open(path, KIT, create=True)
    assert len(register.looks) == 2
    assert "expected a file that can be written (Permission denied)" in error_of(lambda: look(register, "c", "c"))


def test_a_full_disk_leaves_the_register_as_it_was(
    register: Register, full: list[bytes], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(handle: int) -> None:
        raise OSError(28, "No space left on device")

    before, head = path.read_bytes(), register.head
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        assert "(No space left on device); make room" in error_of(lambda: look(register, "c", "c"))
    assert path.read_bytes() == before
    assert (register.head, len(register.looks)) == (head, 2)
    look(register, "c", "c")
    assert len(Register.open(path, KIT).looks) == 3


# -- several at once -------------------------------------------------------------------------------------------------


def test_others_wait_while_one_has_it(register: Register, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Register.open(path, KIT)
    monkeypatch.setattr(chained_file, "LOCK_SECONDS", 0.05)
    with register.locked():
        assert "another process keeps it" in error_of(lambda: look(other, "b", "b"))
        look(register, "a", "a")
    look(other, "b", "b")
    assert [one.name for one in other.looks] == ["a", "b"]


# -- for people ------------------------------------------------------------------------------------------------------


def test_the_register_stands_beside_its_kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kit = tmp_path / "my.kit"
    kit.mkdir()
    assert register_path(kit) == tmp_path / "my.kit.register.jsonl"
    monkeypatch.chdir(kit)
    assert register_path(".") == register_path(f"{kit}/") == register_path(kit)
