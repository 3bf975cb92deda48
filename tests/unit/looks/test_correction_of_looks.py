"""A claim is corrected for every look and for all that the kit was enrolled for; beyond that nobody is asked."""

from dataclasses import replace
from pathlib import Path

import pytest
from commands import run
from toy_kit import churn_kit
from watched_suspects import ONE_TRY, asked, sets_of, suspect, unreachable

from uapfp_dist.errors import UserError
from uapfp_dist.verification import looks
from uapfp_dist.verification import verify as verifying
from uapfp_dist.verification.kit.io import save_kit, with_digest
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.looks import other_looks, stored_begin
from uapfp_dist.verification.querying.transcript_files import transcript_path
from uapfp_dist.verification.register.register import Register, register_path
from uapfp_dist.verification.replay import replay
from uapfp_dist.verification.reports.verdict_folder import write_verdict
from uapfp_dist.verification.reports.verdict_text import verdict_text
from uapfp_dist.verification.verify import verify

pytestmark = pytest.mark.usefixtures("blank_figures")


def test_more_suspects_than_the_kit_decides_with_those_of_before(register: Register, kit: Kit, tmp_path: Path) -> None:
    verify(kit, [suspect("fair")], tmp_path / "a", register=register)
    three = [suspect(name=f"n{i}", operator=f"o{i}") for i in range(3)]
    n = len(asked)
    with pytest.raises(UserError, match=r"got 3 after 1 tested with it before.*max_suspects 4") as told:
        verify(kit, three, tmp_path / "b", register=register)
    assert told.value.options == ("max_suspects",)
    assert len(asked) == n
    assert not (tmp_path / "b").exists()
    cases = verify(kit, three[:2], tmp_path / "b", register=register)
    assert [case.verdict.p_adjusted for case in cases] == [pytest.approx(3 / 60)] * 2
    assert [case.verdict.claim for case in cases] == ["piracy", "piracy"]


def test_one_that_cannot_be_reached_holds_up_nobody(kit: Kit, register: Register, tmp_path: Path) -> None:
    """It is no look, but the others were to be judged with it, and are."""
    cases = verify(kit, [suspect(), unreachable(), suspect("fair")], tmp_path, ONE_TRY, register=register)
    assert [bool(case.stopped) for case in cases] == [False, True, False]
    assert cases[0].verdict.p_adjusted == pytest.approx(3 / 60)
    assert [name for name, _, _ in sets_of(register)] == ["copied", "fair"]


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


@pytest.mark.parametrize(("max_suspects", "least"), [(None, "0.0167"), (3, "0.05")])
def test_no_look_is_spent_where_none_could_be_decided(max_suspects: int | None, least: str, tmp_path: Path) -> None:
    """Not even one suspect; at the alpha that the message names it is decided."""
    kit = churn_kit("light", 59)
    kit = with_digest(replace(kit, info=replace(kit.info, max_suspects=max_suspects)))
    register = Register.open(tmp_path / "r.jsonl", kit.digest, create=True)
    with pytest.raises(UserError, match=rf"alpha: expected at least {least}, .*got 0\.01; .*nothing was sent") as told:
        verify(kit, [suspect()], tmp_path / "a", register=register, alpha=0.01)
    assert told.value.argument == "alpha"
    assert asked == []
    assert sets_of(register) == []
    assert not (tmp_path / "a").exists()
    cases = verify(kit, [suspect()], tmp_path / "a", register=register, alpha=float(least))
    assert cases[0].verdict.claim == "piracy"


def test_a_look_at_such_an_alpha_can_still_be_finished(
    kit: Kit, register: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that an earlier version began; and another alpha than then is called so."""
    with monkeypatch.context() as before:
        before.setattr(looks, "check_number", lambda *arguments: None)
        before.setattr(verifying, "check_number", lambda *arguments: None)
        verify(kit, [suspect()], tmp_path, register=register, alpha=0.01)
    n = len(asked)
    with pytest.raises(UserError, match=r"it was made with another alpha; use the same as then"):
        verify(kit, [suspect()], tmp_path, register=register)
    cases = verify(kit, [suspect()], tmp_path, register=register, alpha=0.01)
    assert cases[0].verdict.claim == "cannot decide at this alpha"
    assert len(asked) == n


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
    assert "0.05 over the 3 suspects that this kit was enrolled for, 1 tested so far" in page
    assert "1 suspect tested with this kit, up to this verdict" in page
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
    with pytest.raises(UserError, match=r"at most 1 .* after 1 tested with it before"):
        verify(kit, [suspect("fair")], tmp_path / "b", register=register)
    assert len(asked) == n
    verify(kit, [suspect("fair")], tmp_path / "b", register=register, alpha=0.1)
    path = transcript_path(tmp_path / "a", "copied")
    begin = stored_begin(path)
    assert begin is not None
    again = replay(kit, [path], other_looks(kit, register, [begin]))[0].verdict
    assert (again.claim, again.p_adjusted) == ("cannot decide at this alpha", pytest.approx(2 / 20))
