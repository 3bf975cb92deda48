"""Which set of points a suspect is sent: none that its operator has seen, and none when they are spent."""

import threading
from pathlib import Path

import pytest
from toy_kit import N_SETS
from watched_suspects import asked, sets_of, suspect

from uapfp_dist.errors import UserError
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.register.register import Register
from uapfp_dist.verification.replay import JudgedSuspect
from uapfp_dist.verification.verify import verify

pytestmark = pytest.mark.usefixtures("blank_figures")


def test_an_operator_sees_every_set_once(kit: Kit, register: Register, tmp_path: Path) -> None:
    for i in range(N_SETS):
        case = verify(kit, [suspect(operator="Acme", name=f"n{i}")], tmp_path / str(i), register=register)[0]
        assert case.verdict.churn is not None
        assert case.verdict.churn.point_set == i
    n = len(asked)
    with pytest.raises(UserError, match=r"at most 3 .* after 3 tested with it before.*nothing was sent"):
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
