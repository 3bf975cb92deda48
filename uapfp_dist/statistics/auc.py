"""How well scores tell positives from negatives, with bootstrap intervals over models."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from torch import Tensor

from uapfp_dist.serialization import Number
from uapfp_dist.statistics.intervals import clopper_pearson


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
    """A mean over resamples of the zoo, its spread over them, and an interval over models."""

    mean: Number
    low: Number
    """2.5 % point of the bootstrap over models; NaN where a side has a single one. Where every pair is ordered alike,
    Clopper and Pearson's limit of n of n, what is resampled of the smaller side: models, or victims of stolen ones."""
    high: Number
    minimum: Number
    """Over resamples."""
    std: Number
    """Over resamples."""


N_BOOT = 1000
"""Bootstrap samples."""
FEWEST_VICTIMS = 5
"""With models stolen from fewer victims there is no interval: many models of one victim say the same many times."""
NO_ONE: Mapping[str, str] = MappingProxyType({})

Sides = tuple[Mapping[str, float], Mapping[str, float]]
"""One resample: scores by model id of the positives and of the negatives."""


def auc_over_resamples(
    resamples: Sequence[Sides],
    rng: np.random.Generator,
    parents: Mapping[str, str] = NO_ONE,
    victims: Mapping[str, str] = NO_ONE,
) -> Estimate:
    """Mean AUC over resamples with a bootstrap interval over models, not fingerprints.

    Args:
        parents: id of a modified model to that of the model it was made of; all made of one are resampled together.
        victims: id of a negative that was stolen to that of its victim: victims are resampled, then the models of
            each (protocol 3.8); others stand for themselves. With fewer than `FEWEST_VICTIMS` the interval is NaN.
    """
    return _over_resamples(resamples, _higher, rng, parents, victims)


def gap_over_resamples(resamples: Sequence[Sides], rng: np.random.Generator) -> Estimate:
    """The same of the gap: mean score of the positives minus that of the negatives."""
    return _over_resamples(resamples, lambda difference: difference, rng, NO_ONE, NO_ONE)


def _over_resamples(
    resamples: Sequence[Sides],
    compared: Callable[[np.ndarray], np.ndarray],
    rng: np.random.Generator,
    parents: Mapping[str, str],
    victims: Mapping[str, str],
) -> Estimate:
    """The mean over all pairs of a positive and a negative, over resamples.

    A model keeps its bootstrap weight in all resamples, because its scores there are not independent; a modified one
    has its parent's.

    Args:
        compared: (P, N) differences of scores to what the mean is taken of.
    """
    usable = [(p, n) for p, n in resamples if p and n]
    if not usable:
        return Estimate(*(math.nan,) * 5)
    matrices, sides = [], []
    for positive, negative in usable:
        p, n = np.array(list(positive.values())), np.array(list(negative.values()))
        matrices.append(compared(p[:, None] - n[None, :]))
        sides.append((list(positive), list(negative)))
    areas = np.array([matrix.mean() for matrix in matrices])
    samples = np.zeros((N_BOOT, len(matrices)))
    units = [sorted({parents.get(m, m) for pair in sides for m in pair[side]}) for side in (0, 1)]
    stolen = {m: victims[m] for m in units[1] if m in victims}
    weights = [_bootstrap_weights(ids, rng) for ids in ([units[0]] if stolen else units)]
    if stolen:
        weights.append(_weights_by_victim({m: stolen.get(m, m) for m in units[1]}, rng))
    for d, (matrix, (p_ids, n_ids)) in enumerate(zip(matrices, sides, strict=True)):
        wp = np.stack([weights[0][parents.get(m, m)] for m in p_ids], axis=1)
        wn = np.stack([weights[1][parents.get(m, m)] for m in n_ids], axis=1)
        total = wp.sum(1) * wn.sum(1)
        with np.errstate(invalid="ignore"):
            samples[:, d] = np.where(total > 0, ((wp @ matrix) * wn).sum(1) / np.maximum(total, 1), np.nan)
    with np.errstate(invalid="ignore"):
        filled = np.where(np.isnan(samples), areas, samples)
    n_victims = len({stolen.get(m, m) for m in units[1]})  # each model that was not stolen counts as one
    few_victims = bool(stolen) and n_victims < FEWEST_VICTIMS
    smaller = min(len(units[0]), n_victims)
    if smaller < 2 or few_victims:
        low, high = math.nan, math.nan
    elif compared is _higher and {*areas} in ({0.0}, {1.0}):
        # Resampling what is all alike would show no spread.
        low, high = clopper_pearson(smaller * float(areas[0]), smaller)
    else:
        low, high = np.percentile(filled.mean(1), [2.5, 97.5])
    return Estimate(float(areas.mean()), float(low), float(high), float(areas.min()), float(areas.std()))


def _bootstrap_weights(ids: list[str], rng: np.random.Generator) -> dict[str, np.ndarray]:
    counts = rng.multinomial(len(ids), np.full(len(ids), 1 / len(ids)), size=N_BOOT)
    return {model: counts[:, i].astype(float) for i, model in enumerate(ids)}


def _weights_by_victim(victims: Mapping[str, str], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The same of models that are resampled within their victims, after those were.

    A victim that was drawn c times gives c draws of as many models as it has, with replacement.
    """
    of_victim: dict[str, list[str]] = {}
    for model, victim in victims.items():
        of_victim.setdefault(victim, []).append(model)
    times = _bootstrap_weights(sorted(of_victim), rng)
    found: dict[str, np.ndarray] = {}
    for victim, models in of_victim.items():
        n = times[victim].astype(int) * len(models)
        counts = rng.multinomial(n, np.full(len(models), 1 / len(models)))
        found |= {model: counts[:, i].astype(float) for i, model in enumerate(models)}
    return found


def tpr_at_fpr(positive: Sequence[float], negative: Sequence[float], fpr: float) -> float:
    """Share of positives above the threshold that lets at most `fpr` of the negatives through."""
    if not positive or not negative:
        return math.nan
    allowed = int(fpr * len(negative))
    threshold = sorted(negative, reverse=True)[allowed] if allowed < len(negative) else -math.inf
    return float(np.mean([score > threshold for score in positive]))
