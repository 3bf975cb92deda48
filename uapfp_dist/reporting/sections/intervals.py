"""95 % intervals over models, which are independent: fingerprints and resamples of one model are not."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd


def interval(*groups: Sequence[float], of: Callable[..., np.ndarray] = lambda mean: mean) -> tuple[float, float]:
    """Bootstrap interval of a mean over models, or `of` the means of several groups; NaN where one has no two models.

    Args:
        groups: a number per model.
        of: takes (B,) resampled means of every group.
    """
    if min(map(len, groups)) < 2:
        return math.nan, math.nan
    rng = np.random.default_rng(0)
    means = [rng.choice(np.asarray(group), (2000, len(group))).mean(1) for group in groups]
    low, high = np.percentile(of(*means), [2.5, 97.5])
    return float(low), float(high)


def with_interval(name: str, value: float, bounds: tuple[float, float]) -> dict[str, float]:
    """A number and its interval under the names that the report's tables and JSON give them."""
    return {name: value, f"{name}_low": bounds[0], f"{name}_high": bounds[1]}


def over_models(table: pd.DataFrame, keys: Sequence[str], means: Sequence[str], bounded: Sequence[str]) -> pd.DataFrame:
    """A row per value of `keys`, in their order of appearance.

    Args:
        table: one row per model (and value of `keys`).
        means: columns of which the mean over models is taken.
        bounded: those of them that get an interval, `<name>_low` and `<name>_high`.
    """
    grouped = table.groupby(list(keys), sort=False)
    found = grouped[list(means)].mean()
    for name in bounded:
        bounds = [interval(values.tolist()) for _, values in grouped[name]]
        found[[f"{name}_low", f"{name}_high"]] = np.array(bounds, dtype=float)
    found["models"] = grouped.size()
    return found.reset_index()
