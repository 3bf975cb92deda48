"""Holm's step-down correction of p-values (Holm, 1979)."""

from collections.abc import Sequence


def holm(p_values: Sequence[float], n_tests: int = 0) -> list[float]:
    """Adjusted p-values: at most alpha for those whose rejection keeps the family-wise rate.

    Args:
        p_values: of the tests that were made.
        n_tests: in all, if more; the others count with p = 1.
    """
    n_tests = max(n_tests, len(p_values))
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [1.0] * len(p_values), 0.0
    for step, i in enumerate(order):
        largest = max(largest, min(1.0, (n_tests - step) * p_values[i]))
        adjusted[i] = largest
    return adjusted
