"""Intervals of shares."""

from scipy import stats


def clopper_pearson(k: float, n: float) -> tuple[float, float]:
    """The exact 95 % interval for a rate: k of n, 0 <= k <= n."""
    low = 0.0 if k <= 0 else float(stats.beta.ppf(0.025, k, n - k + 1))
    high = 1.0 if k >= n else float(stats.beta.ppf(0.975, k + 1, n - k))
    return low, high
