"""A look stands in the register before the first query; what died, was given up or mended resumes it."""

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from toy_kit import churn_kit
from watched_suspects import ONE_TRY, asked, before, sets_of, suspect, unreachable

from uapfp_dist.errors import UserError
from uapfp_dist.launch.verification import kept_answers
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.looks import stored_begin
from uapfp_dist.verification.querying.transcript_files import transcript_path
from uapfp_dist.verification.register.register import Register
from uapfp_dist.verification.verify import verify

pytestmark = pytest.mark.usefixtures("blank_figures")


def test_a_look_is_written_before_the_first_query(kit: Kit, register: Register, tmp_path: Path) -> None:
    found: list[list[tuple[str, int, float]]] = []
    before.append(lambda: found.append(sets_of(register)))
    verify(kit, [suspect()], tmp_path, register=register)
    assert found == [[("copied", 0, 1.0)]]
    assert sets_of(register) == [("copied", 0, 1 / 60)]


def test_the_same_again_adds_nothing(kit: Kit, register: Register, tmp_path: Path) -> None:
    verify(kit, [suspect()], tmp_path, register=register)
    data, n = register.path.read_bytes(), len(asked)
    again = verify(kit, [suspect()], tmp_path, register=Register.open(register.path, kit.digest))
    assert register.path.read_bytes() == data
    assert len(asked) == n
    assert again[0].verdict.register is not None
    assert again[0].verdict.register.looks == 1


def test_a_run_that_was_given_up_resumes_by_its_own_set(kit: Kit, register: Register, tmp_path: Path) -> None:
    """While it is not done it counts with p = 1, and its set is spent."""

    def fail() -> None:
        raise UserError("no more today")

    before.extend([fail, *[lambda: None] * 4])
    with pytest.raises(UserError, match="no more today"):
        verify(kit, [suspect()], tmp_path / "a", register=register)
    assert sets_of(register) == [("copied", 0, 1.0)]
    other = verify(kit, [suspect(name="again")], tmp_path / "b", register=register)[0].verdict
    assert other.churn is not None
    assert other.churn.point_set == 1
    assert other.p_adjusted == pytest.approx(2 / 60)
    assert verify(kit, [suspect()], tmp_path / "a", register=register)[0].verdict.claim == "piracy"
    assert sets_of(register) == [("copied", 0, 1 / 60), ("again", 1, 1 / 60)]


def test_a_process_that_dies_after_reserving_resumes_it(
    kit: Kit, register: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before anything was sent: no look is left over that nobody could ever finish."""
    if (child := os.fork()) == 0:
        monkeypatch.setattr(Register, "release", lambda *arguments: None)
        verify(kit, [suspect()], tmp_path / "a", register=register, map_tasks=lambda *a: os.kill(os.getpid(), 9))  # type: ignore[arg-type,func-returns-value,return-value]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert sets_of(register) == [("copied", 0, 1.0)]
    assert verify(kit, [suspect()], tmp_path / "a", register=register)[0].verdict.claim == "piracy"
    assert sets_of(register) == [("copied", 0, 1 / 60)]


def test_a_suspect_that_could_not_be_reached_is_no_look(kit: Kit, register: Register, tmp_path: Path) -> None:
    """Nothing was sent, so its set is not spent; the same call finds it later, by whatever set is free then."""
    for _ in range(2):
        with pytest.raises(UserError, match="suspect gone"):
            verify(kit, [unreachable(operator="one")], tmp_path / "a", ONE_TRY, register=register)
        assert sets_of(register) == []
    verify(kit, [suspect(operator="one")], tmp_path / "b", register=register)
    with pytest.raises(UserError, match="suspect gone"):
        verify(kit, [unreachable(operator="one")], tmp_path / "a", ONE_TRY, register=register)
    begin = stored_begin(transcript_path(tmp_path / "a", "gone"))
    assert begin is not None
    assert begin.point_set == 1
    assert sets_of(register) == [("copied", 0, 1 / 60)]


def test_a_command_that_was_mended_before_the_evidence_is_no_second_look(tmp_path: Path) -> None:
    """Images that check the input tell a wrong `output`; the kit still decides its one suspect."""
    kit = churn_kit("light", 19)
    register = Register.open(tmp_path / "r.jsonl", kit.digest, create=True)
    wrong = replace(suspect(), output="label")
    for _ in range(2):  # the same again goes on, and still sends nothing else
        with pytest.raises(UserError, match=r"cannot be read|input this model expects"):
            verify(kit, [wrong], tmp_path / "a", register=register)
        assert sets_of(register) == []
    (kept,) = kept_answers([suspect()], tmp_path / "a").values()
    assert kept.used
    case = verify(kit, [suspect()], tmp_path / "a", register=register)[0]
    assert not kept.used
    assert case.verdict.claim == "piracy"
    assert sets_of(register) == [("copied", 0, 1 / 20)]
    assert len(list((tmp_path / "a").glob("*.old"))) == 1
    with pytest.raises(UserError, match="it was made with another suspect"):  # evidence was seen
        verify(kit, [wrong], tmp_path / "a", register=register)


def test_tests_that_begin_alike_are_two(kit: Kit, register: Register, tmp_path: Path) -> None:
    """A run whose set was given back does not send that of a later run in another folder, nor share its look."""

    def lost(task: object, suspects: Sequence[SuspectConfig]) -> list[None]:
        raise UserError("no worker")

    with pytest.raises(UserError, match="no worker"):
        verify(kit, [suspect()], tmp_path / "a", register=register, map_tasks=lost)
    assert sets_of(register) == []
    verify(kit, [suspect()], tmp_path / "b", register=register)
    case = verify(kit, [suspect()], tmp_path / "a", register=register)[0]
    assert case.verdict.churn is not None
    assert case.verdict.churn.point_set == 1
    assert sets_of(register) == [("copied", 0, 1 / 60), ("copied", 1, 1 / 60)]


def test_the_same_command_again_names_the_same_head(kit: Kit, register: Register, tmp_path: Path) -> None:
    """A verdict names the register before its own result, whoever judges again; another look comes after it."""
    first = verify(kit, [suspect("copied")], tmp_path / "a", register=register)
    again = verify(kit, [suspect("copied")], tmp_path / "a", register=Register.open(register.path, kit.digest))
    assert first[0].verdict.register == again[0].verdict.register
    other = verify(kit, [suspect("fair")], tmp_path / "b", register=Register.open(register.path, kit.digest))
    heads = [case[0].verdict.register.head for case in (first, other)]  # type: ignore[union-attr]
    assert heads[0] != heads[1]
    assert all(Register.open(register.path, kit.digest).contains(head) for head in heads)
