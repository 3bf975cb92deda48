"""Holm's step-down correction of p-values (Holm, 1979), and the same for tests that are made one after another."""

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


def holm_after(p_values: Sequence[float], earlier: Sequence[float], n_tests: int) -> list[float]:
    """Adjusted p-values of tests that are made together, after others whose results were known by then.

    At any alpha each of the earlier tests that was rejected gives up its share, as in Holm's procedure: the others are
    tested at alpha / (n_tests - rejected). An earlier test that was not rejected stays so, whatever comes after it:
    rejected for the sake of later ones, it would be tested at a level that was chosen once its p-value was known. So
    the chance of any false rejection is at most alpha, whoever chooses the later tests by the results of the earlier.

    Args:
        p_values: of the tests that are made together.
        earlier: adjusted p-values of the others, as they were found.
        n_tests: fixed before the first of all.
    """
    adjusted = holm(p_values, n_tests)
    for n_rejected, alpha in enumerate(sorted(earlier), 1):  # at this alpha, and above, so many were
        level = holm(p_values, n_tests - n_rejected)
        adjusted = [min(one, max(alpha, other)) for one, other in zip(adjusted, level, strict=True)]
    return adjusted
