"""The paper's t-test (Section 5.2)."""

import numpy as np
from scipy import stats
from torch import Tensor

T_TEST_REPEATS = 30


T_TEST_FINGERPRINTS = 20


def paper_t_test(suspect: Tensor, homologous: Tensor, rng: np.random.Generator) -> float:
    """The paper's statistic (Section 5.2): one-sided two-sample t-test on 20 fingerprints a side, mean p of 30 repeats.

    It takes fingerprints of one model for independent, which they are not: it is reported, not used.

    Args:
        suspect: (V,) similarities of the suspect's fingerprints.
        homologous: (K,) similarities of independent models' fingerprints.
    """
    a, b = (_resample(side.double().numpy(), rng) for side in (suspect, homologous))
    # Two constant samples have no t: the means alone decide.
    p = np.where(a.mean(1) > b.mean(1), 0.0, 1.0)
    varied = a.std(1) + b.std(1) > 1e-12
    moments = [(s[varied].mean(1), s[varied].std(1, ddof=1), s.shape[1]) for s in (a, b)]
    p[varied] = stats.ttest_ind_from_stats(*moments[0], *moments[1], alternative="greater").pvalue
    return float(p.mean())


def _resample(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(repeats, 20) values drawn without replacement, or all values where there are no more than 20."""
    n = min(T_TEST_FINGERPRINTS, len(values))
    return np.stack([rng.choice(values, n, replace=False) for _ in range(T_TEST_REPEATS)])
