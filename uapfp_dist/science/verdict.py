"""The statistics of accusation: model-level conformal p, the paper's t-test, AUC with its interval."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from torch import Tensor

T_TEST_REPEATS = 30
T_TEST_FINGERPRINTS = 20
CANNOT_DECIDE = "cannot decide at this alpha"
"""The claim where calibration is too small for any."""


def auc(positive: Tensor, negative: Tensor) -> float:
    """P(a positive scores above a negative), ties counted half; NaN when a side is empty."""
    if len(positive) == 0 or len(negative) == 0:
        return math.nan
    return float(comparison(positive, negative).mean())


def comparison(positive: Tensor, negative: Tensor) -> np.ndarray:
    """(P, N) matrix: 1 where the positive scores higher, 1/2 at ties, else 0."""
    return _higher(positive.double().numpy()[:, None] - negative.double().numpy()[None, :])


def _higher(difference: np.ndarray) -> np.ndarray:
    return (difference > 0) + 0.5 * (difference == 0)


@dataclass(frozen=True)
class Estimate:
    """A mean over draws, its spread over draws, and an interval over models."""

    mean: float
    low: float
    """2.5 % point of the bootstrap over models; NaN where a side has a single one."""
    high: float
    minimum: float
    """Over draws."""
    std: float
    """Over draws."""


Sides = tuple[Mapping[str, float], Mapping[str, float]]
"""One draw: scores by model id of the positives and of the negatives."""


def auc_over_draws(draws: Sequence[Sides], rng: np.random.Generator, n_boot: int = 1000) -> Estimate:
    """Mean AUC over draws with a bootstrap interval that resamples models, not fingerprints."""
    return _over_draws(draws, _higher, rng, n_boot)


def gap_over_draws(draws: Sequence[Sides], rng: np.random.Generator, n_boot: int = 1000) -> Estimate:
    """The same of the gap: mean score of the positives minus that of the negatives."""
    return _over_draws(draws, lambda difference: difference, rng, n_boot)


def _over_draws(
    draws: Sequence[Sides], compared: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator, n_boot: int
) -> Estimate:
    """The mean over all pairs of a positive and a negative, over draws.

    A model keeps its weight in all draws of a resample, because its scores there are not independent.

    Args:
        compared: (P, N) differences of scores to what the mean is taken of.
    """
    usable = [(p, n) for p, n in draws if p and n]
    if not usable:
        return Estimate(*(math.nan,) * 5)
    matrices, sides = [], []
    for positive, negative in usable:
        p, n = np.array(list(positive.values())), np.array(list(negative.values()))
        matrices.append(compared(p[:, None] - n[None, :]))
        sides.append((list(positive), list(negative)))
    areas = np.array([matrix.mean() for matrix in matrices])
    samples = np.zeros((n_boot, len(matrices)))
    weights = [_bootstrap_weights(sorted({m for pair in sides for m in pair[side]}), rng, n_boot) for side in (0, 1)]
    for d, (matrix, (p_ids, n_ids)) in enumerate(zip(matrices, sides, strict=True)):
        wp = np.stack([weights[0][m] for m in p_ids], axis=1)
        wn = np.stack([weights[1][m] for m in n_ids], axis=1)
        total = wp.sum(1) * wn.sum(1)
        with np.errstate(invalid="ignore"):
            samples[:, d] = np.where(total > 0, ((wp @ matrix) * wn).sum(1) / np.maximum(total, 1), np.nan)
    with np.errstate(invalid="ignore"):
        filled = np.where(np.isnan(samples), areas, samples)
    resampled = min(len({m for pair in sides for m in pair[side]}) for side in (0, 1)) > 1
    low, high = np.percentile(filled.mean(1), [2.5, 97.5]) if resampled else (math.nan, math.nan)
    return Estimate(float(areas.mean()), float(low), float(high), float(areas.min()), float(areas.std()))


def _bootstrap_weights(ids: list[str], rng: np.random.Generator, n_boot: int) -> dict[str, np.ndarray]:
    counts = rng.multinomial(len(ids), np.full(len(ids), 1 / len(ids)), size=n_boot)
    return {model: counts[:, i].astype(float) for i, model in enumerate(ids)}


def tpr_at_fpr(positive: Sequence[float], negative: Sequence[float], fpr: float) -> float:
    """Share of positives above the threshold that lets at most `fpr` of the negatives through."""
    if not positive or not negative:
        return math.nan
    allowed = int(fpr * len(negative))
    threshold = sorted(negative, reverse=True)[allowed] if allowed < len(negative) else -math.inf
    return float(np.mean([score > threshold for score in positive]))


def needed_for(alpha: float) -> int:
    """Calibration models without which no p-value can reach `alpha` (protocol 3.1)."""
    return math.ceil(round(1 / alpha, 9)) - 1


def conformal_p(score: float, calibration: Sequence[float]) -> float:
    """(1 + #{innocent calibration models scoring >= the suspect}) / (1 + m): uniform at least, if exchangeable.

    A score that is no number accuses nobody.
    """
    return (1 + sum(not other < score for other in calibration)) / (1 + len(calibration))


@dataclass(frozen=True)
class Decision:
    """A claim at level alpha and what it rests on."""

    p_value: float
    claim: str
    not_calibrated_against: tuple[str, ...]


def decide(
    score: float, calibration: Mapping[str, Sequence[float]], alpha: float, required: Sequence[str] = ()
) -> Decision:
    """The largest conformal p over the groups of innocents that are large enough for `alpha`.

    Args:
        score: the suspect's.
        calibration: group of innocents to the scores of its calibration models.
        alpha: tolerated rate of false accusation.
        required: groups without which, large enough, the others decide nothing.
    """
    enough = {name: scores for name, scores in calibration.items() if len(scores) >= needed_for(alpha)}
    too_small = tuple(name for name in calibration if name not in enough)
    if not enough or not set(required) <= enough.keys():
        p = max((conformal_p(score, scores) for scores in calibration.values()), default=1.0)
        return Decision(p, CANNOT_DECIDE, too_small)
    p = max(conformal_p(score, scores) for scores in enough.values())
    # p is a ratio of counts: compare with a tolerance far below 1 / (m + 1).
    return Decision(p, "piracy" if p <= alpha + 1e-12 else "inconclusive", too_small)


def paper_t_test(suspect: Tensor, homologous: Tensor, rng: np.random.Generator) -> float:
    """The paper's statistic (Section 5.2): one-sided two-sample t-test on 20 fingerprints a side, mean p of 30 repeats.

    It takes fingerprints of one model for independent, which they are not: it is printed, not used.

    Args:
        suspect: (V,) similarities of the suspect's fingerprints.
        homologous: (K,) similarities of homologous models' fingerprints.
    """
    a, b = (_resample(side.double().numpy(), rng) for side in (suspect, homologous))
    # Two constant samples have no t: the means alone decide.
    p = np.where(a.mean(1) > b.mean(1), 0.0, 1.0)
    varied = a.std(1) + b.std(1) > 1e-12
    moments = [(s[varied].mean(1), s[varied].std(1, ddof=1), s.shape[1]) for s in (a, b)]
    p[varied] = stats.ttest_ind_from_stats(*moments[0], *moments[1], alternative="greater").pvalue
    return float(p.mean())


def _resample(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(repeats, 20) draws without replacement, or all values where there are no more than 20."""
    n = min(T_TEST_FINGERPRINTS, len(values))
    return np.stack([rng.choice(values, n, replace=False) for _ in range(T_TEST_REPEATS)])
