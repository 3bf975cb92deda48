"""95 % intervals over models, which are independent: fingerprints and resamples of one model are not."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from uapfp_dist.statistics.intervals import clopper_pearson


def interval(
    *groups: Sequence[float], of: Callable[..., np.ndarray] = lambda mean: mean, shares: bool = False
) -> tuple[float, float]:
    """Bootstrap interval of a mean over models, or `of` the means of several groups; NaN where one has no two models.

    Args:
        groups: a number per model.
        of: takes (B,) resampled means of every group.
        shares: of what a model does. All 0, or all 1, they get Clopper and Pearson's interval in place of a bootstrap
            of no width, which all other numbers that are alike get.
    """
    if min(map(len, groups)) < 2:
        return math.nan, math.nan
    if shares and len(groups) == 1 and set(groups[0]) in ({0.0}, {1.0}):
        return clopper_pearson(sum(groups[0]), len(groups[0]))  # resampling what is all alike would show no spread
    rng = np.random.default_rng(0)
    means = [rng.choice(np.asarray(group), (2000, len(group))).mean(1) for group in groups]
    low, high = np.percentile(of(*means), [2.5, 97.5])
    return float(low), float(high)


def clustered_interval(values: Sequence[float], parents: Sequence[str], *, shares: bool = False) -> tuple[float, float]:
    """Bootstrap interval of a mean where models made of the same one are resampled together; NaN without two parents.

    Args:
        values: a number per model.
        parents: the model that each was made of; its own id where it was not modified.
        shares: as of `interval`.
    """
    clusters = dict[str, list[float]]()
    for value, parent in zip(values, parents, strict=True):
        clusters.setdefault(parent, []).append(value)
    if len(clusters) == len(values):
        return interval(values, shares=shares)
    if len(clusters) < 2:
        return math.nan, math.nan
    if shares and set(values) in ({0.0}, {1.0}):
        return clopper_pearson(len(clusters) * values[0], len(clusters))
    sums, sizes = (np.array([of(cluster) for cluster in clusters.values()], dtype=float) for of in (sum, len))
    drawn = np.random.default_rng(0).integers(len(clusters), size=(2000, len(clusters)))
    low, high = np.percentile(sums[drawn].sum(1) / sizes[drawn].sum(1), [2.5, 97.5])
    return float(low), float(high)


def with_interval(name: str, value: float, bounds: tuple[float, float]) -> dict[str, float]:
    """A number and its interval under the names that the report's tables and JSON give them."""
    return {name: value, f"{name}_low": bounds[0], f"{name}_high": bounds[1]}


def over_models(
    table: pd.DataFrame, keys: Sequence[str], means: Sequence[str], bounded: Sequence[str], shares: Sequence[str] = ()
) -> pd.DataFrame:
    """A row per value of `keys`, in their order of appearance.

    Args:
        table: one row per model (and value of `keys`).
        means: columns of which the mean over models is taken.
        bounded: those of them that get an interval, `<name>_low` and `<name>_high`; over the parents of modified
            models where the table has a column `base`.
        shares: those of `bounded` that are shares, see `interval`.
    """
    grouped = table.groupby(list(keys), sort=False)
    found = grouped[list(means)].mean()
    for name in bounded:
        bounds = [
            clustered_interval(rows[name].tolist(), rows["base"].tolist(), shares=name in shares)
            if "base" in rows
            else interval(rows[name].tolist(), shares=name in shares)
            for _, rows in grouped
        ]
        found[[f"{name}_low", f"{name}_high"]] = np.array(bounds, dtype=float)
    found["models"] = grouped.size()
    return found.reset_index()
