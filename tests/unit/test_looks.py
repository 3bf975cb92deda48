"""Verification by a kit of churn points: every look stands in the register before the first query, and counts."""

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from commands import run
from forgery import forged
from toy_kit import BUDGETS, N_SETS, churn_kit, negative, serve, toy_kit, trained

from uapfp_dist.errors import UserError
from uapfp_dist.launch.verification import kept_answers
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification import looks
from uapfp_dist.verification.kit.io import save_kit, with_digest
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.looks import other_looks, stored_begin
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.querying.transcript_files import transcript_path
from uapfp_dist.verification.register.register import Register, register_path
from uapfp_dist.verification.replay import JudgedSuspect, replay
from uapfp_dist.verification.reports.verdict_file import verdict_schema
from uapfp_dist.verification.reports.verdict_folder import write_verdict
from uapfp_dist.verification.reports.verdict_text import verdict_text
from uapfp_dist.verification.verify import verify

pytestmark = pytest.mark.usefixtures("blank_figures")

asked: list[int] = []
"""Images of each request, in this process."""
before: list[Callable[[], object]] = []
"""What happens when the next request comes."""


def copied(images: np.ndarray) -> list[list[float]]:
    """The victim's own answers."""
    if before:
        before.pop()()
    asked.append(len(images))
    return serve(trained(0))(images)


def fair(images: np.ndarray) -> list[list[float]]:
    """Those of another model."""
    asked.append(len(images))
    return serve(negative())(images)


def garbled(images: np.ndarray) -> list[list[float]]:
    """The victim's, but for every third image, to which nothing can be read."""
    return [[] if image.sum() % 3 < 1 else row for image, row in zip(images, copied(images), strict=True)]


@pytest.fixture(autouse=True)
def _fresh(quick_retries: None) -> None:
    asked.clear()
    before.clear()


@pytest.fixture
def kit() -> Kit:
    """A light one that decides three suspects."""
    return churn_kit("light", 59)


@pytest.fixture
def register(kit: Kit, tmp_path: Path) -> Register:
    """Of that kit, nobody was asked yet."""
    return Register.open(tmp_path / "r.jsonl", kit.digest, create=True)


def suspect(function: str = "copied", name: str = "", operator: str = "") -> SuspectConfig:
    """A function of this file."""
    return SuspectConfig(at=f"test_looks:{function}", name=name or function, operator=operator or function)


def unreachable(name: str = "gone", operator: str = "") -> SuspectConfig:
    """Nobody listens there."""
    return SuspectConfig(at="http://127.0.0.1:1/", name=name, operator=operator or name)


ONE_TRY = QueryConfig(tries=1, timeout=1.0)


def sets_of(register: Register) -> list[tuple[str, int, float]]:
    """(name, set, p) of every look on the disk."""
    again = Register.open(register.path, register.kit)
    return [(look.name, look.point_set, look.p_value) for look in again.looks]


# --- one look


@pytest.mark.parametrize("size", ["light", "full"])
@pytest.mark.parametrize(("function", "claim"), [("copied", "piracy"), ("fair", "inconclusive")])
def test_the_right_claim(size: str, function: str, claim: str, tmp_path: Path) -> None:
    """Alone, by the first set, with all that a reader needs in JSON, text and page."""
    kit = churn_kit(size)
    register = Register.open(tmp_path / "r.jsonl", kit.digest, create=True)
    cases = verify(kit, [suspect(function)], tmp_path / "out", register=register)
    verdict = cases[0].verdict
    assert (verdict.claim, verdict.decided_by) == (claim, "churn" if size == "light" else "weighted_churn")
    assert verdict.churn is not None
    assert (verdict.churn.agreed, verdict.churn.of) == (20 if function == "copied" else 0, 20)
    assert verdict.register is not None
    assert verdict.register.looks == 1
    assert Register.open(register.path, kit.digest).contains(verdict.register.head)
    write_verdict(tmp_path / "out", kit, cases)
    found = json.loads((tmp_path / "out" / "verdict.json").read_text())
    jsonschema.validate(found, verdict_schema())
    assert found["suspects"][0]["churn"]["point_set"] == 0
    page, text = (tmp_path / "out" / "verdict.html").read_text(), verdict_text(kit, cases)
    derived = f"{function}: piracy, derived from the victim or its answers."
    assert (derived in text) == (derived in page) == (function == "copied")
    # Churn points, where the suspect falls, how it adds up; a full kit shows images of the methods beside, too.
    assert page.count("<img ") == (3 if size == "light" else 5)
    for said in (
        "whoever labelled images with the victim",
        "models stolen from a sibling of the victim",
        "adds up, image by image",
    ):
        assert said in page
    assert ("without a claim" in page) == (size == "full")
    assert f"1 look with this kit, head before the result {verdict.register.head[:16]}" in text
    assert verdict.register.head in page


def test_a_replay_gives_the_same_bits(kit: Kit, register: Register, tmp_path: Path) -> None:
    """From transcripts and the register's other looks alone; without the register, by Holm over those alone."""
    verify(kit, [suspect("fair")], tmp_path / "a", register=register)
    cases = verify(kit, [suspect("garbled")], tmp_path / "b", QueryConfig(anyway=True), register=register)
    path = transcript_path(tmp_path / "b", "garbled")
    begin = stored_begin(path)
    assert begin is not None
    again = Register.open(register.path, kit.digest)
    looked = replace(other_looks(again, [begin]), register_head=cases[0].verdict.register.head)  # type: ignore[union-attr]
    moved = Path(shutil.copy(path, tmp_path / "elsewhere"))
    for where, found in (("first", cases), ("second", replay(kit, [moved], looked))):
        write_verdict(tmp_path / where, kit, found)
    for name in ("verdict.json", "verdict.txt", "verdict.html"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert cases[0].verdict.churn is not None
    assert 0 < cases[0].verdict.churn.of < 20
    alone = replay(kit, [moved])[0].verdict
    assert alone.register is None
    assert alone.p_value == cases[0].verdict.p_value


def test_a_budget_buys_fewer_points(kit: Kit, register: Register, tmp_path: Path) -> None:
    case = verify(kit, [suspect()], tmp_path, QueryConfig(max_queries=12 + 15), register=register)[0]
    assert case.verdict.churn is not None
    assert case.verdict.churn.of == BUDGETS[0]
    assert case.verdict.claim == "piracy"
    assert sum(asked) <= 27
    with pytest.raises(UserError, match="max_queries: expected at least 22 images, got 21"):
        verify(kit, [suspect("fair")], tmp_path / "b", QueryConfig(max_queries=21), register=register)
    assert len(sets_of(register)) == 1


@pytest.mark.parametrize("point_set", [N_SETS, -1, 10**9])
def test_a_transcript_of_a_set_that_is_none(point_set: int, kit: Kit, tmp_path: Path) -> None:
    verify(kit, [suspect(name="s")], tmp_path)
    path = forged(tmp_path, tmp_path / "forged", lambda records: records[0].update(point_set=point_set))
    with pytest.raises(UserError, match=f"expected one of the 3 sets of the kit's churn points, got {point_set}"):
        replay(kit, [path])


def test_a_transcript_of_another_set_than_was_sent(kit: Kit, register: Register, tmp_path: Path) -> None:
    """Its answers are not to those images; and to the register it is another test."""
    verify(kit, [suspect(name="s")], tmp_path / "a", register=register)
    path = forged(tmp_path / "a", tmp_path / "forged", lambda records: records[0].update(point_set=1))
    with pytest.raises(UserError, match="just the images that the kit requires"):
        replay(kit, [path])
    begin, other = stored_begin(transcript_path(tmp_path / "a", "s")), stored_begin(path)
    assert begin is not None
    assert other is not None
    assert len(other_looks(register, [begin]).p_values) == 0
    assert len(other_looks(register, [other]).p_values) == 1


# --- what the register knows, and when


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


def test_an_operator_sees_every_set_once(kit: Kit, register: Register, tmp_path: Path) -> None:
    for i in range(N_SETS):
        case = verify(kit, [suspect(operator="Acme", name=f"n{i}")], tmp_path / str(i), register=register)[0]
        assert case.verdict.churn is not None
        assert case.verdict.churn.point_set == i
    n = len(asked)
    with pytest.raises(UserError, match=r"at most 3 .* after 3 that it was asked about before.*nothing was sent"):
        verify(kit, [suspect("fair", operator="acme ")], tmp_path / "more", register=register)
    with pytest.raises(UserError, match=r"all 3 are spent.*nothing was sent"):
        verify(kit, [suspect("fair", operator="acme ")], tmp_path / "more", register=register, alpha=0.2)
    other = verify(kit, [suspect("fair", operator="b")], tmp_path / "b", register=register, alpha=0.2)[0].verdict
    assert other.churn is not None
    assert other.churn.point_set == 0
    assert len(asked) > n
    assert [name for name, _, _ in sets_of(register)] == ["n0", "n1", "n2", "fair"]
    assert not list((tmp_path / "more").glob("*.jsonl"))


def test_where_one_of_several_finds_no_set_nobody_is_sent_anything(
    kit: Kit, register: Register, tmp_path: Path
) -> None:
    """And nothing stays reserved for the others."""
    crowd = [suspect(name=f"n{i}", operator="one") for i in range(N_SETS + 1)]
    for _ in range(2):
        with pytest.raises(UserError, match="all 3 are spent"):
            verify(kit, crowd, tmp_path / "a", register=register, alpha=0.2)
    assert sets_of(register) == []
    assert asked == []
    verify(kit, crowd[:N_SETS], tmp_path / "a", register=register)
    assert [point_set for _, point_set, _ in sets_of(register)] == [0, 1, 2]


def test_more_suspects_than_the_kit_decides_with_those_of_before(register: Register, kit: Kit, tmp_path: Path) -> None:
    verify(kit, [suspect("fair")], tmp_path / "a", register=register)
    three = [suspect(name=f"n{i}", operator=f"o{i}") for i in range(3)]
    n = len(asked)
    with pytest.raises(UserError, match=r"got 3 after 1 that it was asked about before.*max_suspects 4"):
        verify(kit, three, tmp_path / "b", register=register)
    assert len(asked) == n
    assert not (tmp_path / "b").exists()
    cases = verify(kit, three[:2], tmp_path / "b", register=register)
    assert [case.verdict.p_adjusted for case in cases] == [pytest.approx(3 / 60)] * 2
    assert [case.verdict.claim for case in cases] == ["piracy", "piracy"]


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
        with pytest.raises(UserError, match=r"cannot be read|question this model expects"):
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


def test_one_that_cannot_be_reached_holds_up_nobody(kit: Kit, register: Register, tmp_path: Path) -> None:
    """It is no look, but the others were to be judged with it, and are."""
    cases = verify(kit, [suspect(), unreachable(), suspect("fair")], tmp_path, ONE_TRY, register=register)
    assert [bool(case.stopped) for case in cases] == [False, True, False]
    assert cases[0].verdict.p_adjusted == pytest.approx(3 / 60)
    assert [name for name, _, _ in sets_of(register)] == ["copied", "fair"]


# --- several


def test_several_at_once_by_sets_of_their_own(kit: Kit, register: Register, tmp_path: Path) -> None:
    """Of one operator each gets another set; Holm over all of them."""
    three = [suspect(name="a", operator="x"), suspect("fair", "b", "x"), suspect(name="c", operator="y")]
    cases = verify(kit, three, tmp_path, register=register)
    assert [case.verdict.churn and case.verdict.churn.point_set for case in cases] == [0, 1, 0]
    assert [case.verdict.claim for case in cases] == ["piracy", "inconclusive", "piracy"]
    assert cases[0].verdict.p_adjusted == pytest.approx(3 / 60)
    assert cases[0].verdict.register is not None
    assert cases[0].verdict.register.looks == 3


def test_processes_that_verify_at_once_share_no_set(kit: Kit, register: Register, tmp_path: Path) -> None:
    """Threads with registers of their own, one operator."""
    found: list[JudgedSuspect] = []

    def run(i: int) -> None:
        own = Register.open(register.path, kit.digest)
        found.extend(verify(kit, [suspect(name=f"n{i}", operator="one")], tmp_path / str(i), register=own))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(case.verdict.churn.point_set for case in found if case.verdict.churn) == [0, 1, 2]
    assert sorted(point_set for _, point_set, _ in sets_of(register)) == [0, 1, 2]


def test_a_claim_that_stands_alone_does_not_stand_among_more_looks(kit: Kit, tmp_path: Path) -> None:
    """One of 59 models scores as high as the suspect: p is 2 / 60, and 4 / 60 of two looks."""
    assert kit.churn is not None
    agrees = kit.churn.agrees.clone()
    agrees[0] = True
    kit = with_digest(replace(kit, churn=replace(kit.churn, agrees=agrees)))
    for looked_before, claim in ((False, "piracy"), (True, "inconclusive")):
        out = tmp_path / str(looked_before)
        register = Register.open(tmp_path / f"{looked_before}.jsonl", kit.digest, create=True)
        if looked_before:
            verify(kit, [suspect("fair")], out / "before", register=register)
        verdict = verify(kit, [suspect()], out, register=register)[0].verdict
        assert (verdict.claim, verdict.p_value) == (claim, 2 / 60)
        assert verdict.p_adjusted == pytest.approx((1 + looked_before) * 2 / 60)


def test_nobody_is_asked_where_no_number_of_suspects_could_be_decided(tmp_path: Path) -> None:
    """Enrolled for three, each is corrected for three: at a smaller alpha no two can be decided either."""
    kit = churn_kit("light", 59)
    kit = with_digest(replace(kit, info=replace(kit.info, max_suspects=3)))
    register = Register.open(tmp_path / "r.jsonl", kit.digest, create=True)
    two = [suspect(name=name, operator=name) for name in "ab"]
    with pytest.raises(UserError, match=r"at most 0 at alpha 0\.04, got 2; nothing was sent; allow a larger alpha"):
        verify(kit, two, tmp_path / "a", register=register, alpha=0.04)
    assert asked == []
    cases = verify(kit, two, tmp_path / "b", register=register)
    assert [case.verdict.claim for case in cases] == ["piracy", "piracy"]


def test_page_text_and_register_show_one_corrected_p(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And over how many suspects it is: those that the kit was enrolled for, not those looked at so far."""
    kit = churn_kit("light", 59)
    kit = with_digest(replace(kit, info=replace(kit.info, max_suspects=3)))
    folder = tmp_path / "kit"
    save_kit(kit, folder)
    register = Register.open(register_path(folder), kit.digest, create=True)
    cases = verify(kit, [suspect()], tmp_path / "out", register=register)
    assert cases[0].verdict.p_adjusted == pytest.approx(3 / 60)
    write_verdict(tmp_path / "out", kit, cases)
    page = (tmp_path / "out" / "verdict.html").read_text()
    assert "0.05 over the 3 suspects that this kit was enrolled for, 1 looked at so far" in page
    assert "1 suspect that this kit was asked about by now" in page
    assert "p 0.0167 (p 0.0500 corrected for 3 suspects)" in verdict_text(kit, cases)
    run("verify", "--kit", str(folder), "--register")
    assert "p 0.0167 (corrected for 3: 0.05)" in capsys.readouterr().out
    alone = verify(kit, [suspect()], tmp_path / "alone")
    write_verdict(tmp_path / "alone", kit, alone)
    page = (tmp_path / "alone" / "verdict.html").read_text()
    assert "0.05 over the 3 suspects that this kit was enrolled for, 1 judged here" in page


def test_a_kit_that_decides_one_suspect_decides_no_second(tmp_path: Path) -> None:
    """It is not asked; and whoever asks two at the same moment gets no claim on either."""
    kit = churn_kit("light")
    register = Register.open(tmp_path / "r.jsonl", kit.digest, create=True)
    assert verify(kit, [suspect()], tmp_path / "a", register=register)[0].verdict.claim == "piracy"
    n = len(asked)
    with pytest.raises(UserError, match=r"at most 1 .* after 1 that it was asked about before"):
        verify(kit, [suspect("fair")], tmp_path / "b", register=register)
    assert len(asked) == n
    verify(kit, [suspect("fair")], tmp_path / "b", register=register, alpha=0.1)
    path = transcript_path(tmp_path / "a", "copied")
    begin = stored_begin(path)
    assert begin is not None
    again = replay(kit, [path], other_looks(register, [begin]))[0].verdict
    assert (again.claim, again.p_adjusted) == ("cannot decide at this alpha", pytest.approx(2 / 20))


# --- a register that is not whole


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


def test_without_a_register_everybody_is_sent_the_first_set(kit: Kit, tmp_path: Path) -> None:
    for where in ("a", "b"):
        verdict = verify(kit, [suspect()], tmp_path / where)[0].verdict
        assert verdict.register is None
        assert verdict.churn is not None
        assert verdict.churn.point_set == 0
        assert any("of several, all must be told" in limit for limit in verdict.limits)


def test_the_job_keeps_and_shows_the_register(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A kit without its register is refused: it may have been removed, and with it what was asked before."""
    save_kit(kit, tmp_path / "kit")
    job = "--kit", str(tmp_path / "kit"), "--no-track", "--out", str(tmp_path / "out")
    with pytest.raises(UserError, match=r"register .*kit\.register\.jsonl"):
        run("verify", *job, "--at", "test_looks:copied")
    assert not asked
    Register.open(register_path(tmp_path / "kit"), kit.digest, create=True)
    run("verify", *job, "--at", "test_looks:copied", "--name", "copy")
    assert "copy: piracy" in capsys.readouterr().out
    run("verify", *job, "--register")
    said = capsys.readouterr().out
    assert "suspects looked at 1" in said
    assert "copy at test_looks:copied" in said
    save_kit(toy_kit(), tmp_path / "errors")
    with pytest.raises(UserError, match="kit with churn points"):
        run("verify", "--kit", str(tmp_path / "errors"), "--register")


def test_the_same_command_again_names_the_same_head(kit: Kit, register: Register, tmp_path: Path) -> None:
    """A verdict names the register before its own result, whoever judges again; another look comes after it."""
    first = verify(kit, [suspect("copied")], tmp_path / "a", register=register)
    again = verify(kit, [suspect("copied")], tmp_path / "a", register=Register.open(register.path, kit.digest))
    assert first[0].verdict.register == again[0].verdict.register
    other = verify(kit, [suspect("fair")], tmp_path / "b", register=Register.open(register.path, kit.digest))
    heads = [case[0].verdict.register.head for case in (first, other)]  # type: ignore[union-attr]
    assert heads[0] != heads[1]
    assert all(Register.open(register.path, kit.digest).contains(head) for head in heads)
