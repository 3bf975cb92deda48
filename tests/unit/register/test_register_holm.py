"""Holm's correction runs over all looks of a register, those without a result with p = 1."""

from pathlib import Path

import pytest
from registers import KIT, SHA, look

from uapfp_dist.statistics.holm import holm
from uapfp_dist.verification.register.lines import register_lines
from uapfp_dist.verification.register.register import Register


def test_holm_runs_over_all_looks(register: Register) -> None:
    p_values = [0.01, None, 0.02, 0.5]
    tests = [look(register, f"m{i}", f"o{i}", p=p) for i, p in enumerate(p_values)]
    expected = holm([1.0 if p is None else p for p in p_values])
    assert [register.adjusted()[test] for test in tests] == expected == [0.04, 1.0, 0.06, 1.0]
    assert [one.p_value for one in register.looks] == [0.01, 1.0, 0.02, 0.5]


def test_holm_runs_over_all_suspects_that_the_kit_was_enrolled_for(register: Register) -> None:
    """As in the verdict: the same numbers in both."""
    tests = [look(register, name, name, p=p) for name, p in (("a", 0.01), ("b", 0.03))]
    for k, adjusted in ((0, [0.02, 0.03]), (2, [0.02, 0.03]), (5, [0.05, 0.12])):
        found = register.adjusted(max_suspects=k)
        assert [found[test] for test in tests] == pytest.approx(adjusted)
        assert f"p 0.01 (corrected for {k or 2}: {adjusted[0]:.3g})" in register_lines(register, k)[1]


def test_a_look_that_is_given_up_never_helps(register: Register) -> None:
    own = look(register, "own", "o")
    alone = register.adjusted({own: 0.02})[own]
    look(register, "given up", "another")
    assert register.adjusted({own: 0.02})[own] == 2 * alone


def test_an_earlier_verdict_can_be_repeated(register: Register, path: Path) -> None:
    first, second = look(register, "a", "a"), look(register, "b", "b", p=0.03)
    judged_at = register.head
    then = register.adjusted({first: 0.01})
    register.decide(first, 0.01, "hard", SHA, "piracy")
    look(register, "c", "c", p=0.001)
    again = Register.open(path, KIT)
    assert again.adjusted({first: 0.01}, judged_at) == then == {first: 0.02, second: 0.03}
    assert again.adjusted()[first] == 0.02
    assert len(again.adjusted()) == 3
    with pytest.raises(ValueError, match="was not reserved"):
        again.adjusted({"9" * 64: 0.5})
