"""Where the register is not whole, cannot be written or is not there, nobody is sent anything."""

from collections.abc import Callable
from pathlib import Path

import pytest
from commands import run
from toy_kit import toy_kit
from watched_suspects import asked, sets_of, suspect

from uapfp_dist.errors import UserError
from uapfp_dist.verification import looks
from uapfp_dist.verification.kit.io import save_kit
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.register.register import Register, register_path
from uapfp_dist.verification.verify import verify

pytestmark = pytest.mark.usefixtures("blank_figures")


def cut(path: Path) -> None:
    """The last line is gone, others changed it."""
    path.write_bytes(path.read_bytes().replace(b'"point_set": 0', b'"point_set": 7'))


@pytest.mark.parametrize("spoil", [cut, Path.unlink, lambda path: path.write_bytes(b"{}\n")])
def test_a_register_that_is_not_whole_is_one_line_and_nothing_is_sent(
    spoil: Callable[[Path], object], kit: Kit, register: Register, tmp_path: Path
) -> None:
    """When it is opened, and when it was opened before."""
    verify(kit, [suspect()], tmp_path / "a", register=register)
    n = len(asked)
    spoil(register.path)
    for opened in (lambda: Register.open(register.path, kit.digest), lambda: register):
        with pytest.raises(UserError, match="register") as caught:
            verify(kit, [suspect("fair")], tmp_path / "b", register=opened())
        assert "\n" not in str(caught.value)
    assert len(asked) == n
    assert not list((tmp_path / "b").glob("*.jsonl"))


def test_a_full_disk_while_reserving_sends_nothing(
    kit: Kit, register: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise UserError("register: expected to write 9 bytes (No space left on device)")

    monkeypatch.setattr(looks.Register, "reserve", full)
    with pytest.raises(UserError, match="No space"):
        verify(kit, [suspect()], tmp_path / "a", register=register)
    assert asked == []
    monkeypatch.undo()
    assert verify(kit, [suspect()], tmp_path / "a", register=register)[0].verdict.claim == "piracy"
    assert len(sets_of(register)) == 1


def test_the_job_keeps_and_shows_the_register(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A kit without its register is refused: it may have been removed, and with it what was asked before."""
    save_kit(kit, tmp_path / "kit")
    job = "--kit", str(tmp_path / "kit"), "--no-track", "--out", str(tmp_path / "out")
    with pytest.raises(UserError, match=r"register .*kit\.register\.jsonl"):
        run("verify", *job, "--at", "watched_suspects:copied")
    assert not asked
    Register.open(register_path(tmp_path / "kit"), kit.digest, create=True)
    run("verify", *job, "--at", "watched_suspects:copied", "--name", "copy")
    assert "copy: piracy" in capsys.readouterr().out
    run("verify", *job, "--register")
    said = capsys.readouterr().out
    assert "suspects tested 1" in said
    assert "copy at watched_suspects:copied" in said
    save_kit(toy_kit(), tmp_path / "errors")
    with pytest.raises(UserError, match="kit with churn points"):
        run("verify", "--kit", str(tmp_path / "errors"), "--register")
