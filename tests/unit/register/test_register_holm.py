"""Holm's correction of the looks of a register, those without a result with p = 1."""

import pytest
from registers import look

from uapfp_dist.statistics.holm import holm
from uapfp_dist.verification.register.lines import register_lines
from uapfp_dist.verification.register.register import Register


def test_holm_runs_over_all_looks(register: Register) -> None:
    p_values = [0.01, None, 0.02, 0.5]
    tests = [look(register, f"m{i}", f"o{i}", p=p) for i, p in enumerate(p_values)]
    expected = holm([1.0 if p is None else p for p in p_values])
    assert [register.adjusted(4)[test] for test in tests] == expected == [0.04, 1.0, 0.06, 1.0]
    assert [one.p_value for one in register.looks] == [0.01, 1.0, 0.02, 0.5]


def test_holm_runs_over_all_suspects_that_the_kit_was_enrolled_for(register: Register) -> None:
    """As in the verdict: the same numbers in both."""
    tests = [look(register, name, name, p=p) for name, p in (("a", 0.01), ("b", 0.03))]
    for k, adjusted in ((0, [0.02, 0.03]), (2, [0.02, 0.03]), (5, [0.05, 0.12])):
        found = register.adjusted(max_suspects=k)
        assert [found[test] for test in tests] == pytest.approx(adjusted)
        assert f"p 0.01 (corrected for {k or 2}: {adjusted[0]:.3g})" in register_lines(register, k)[1]
