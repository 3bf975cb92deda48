"""Validation of the tables that figures are drawn from."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from uapfp_dist.errors import UserError


def finite(values: Iterable[float | None]) -> np.ndarray:
    """(N,) floats without None, NaN and infinity."""
    found = np.array([np.nan if value is None else value for value in values], dtype=float).ravel()
    return found[np.isfinite(found)]


def require_columns(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The table; an empty one may lack columns.

    Raises:
        UserError: rows without one of the columns.
    """
    missing = [c for c in columns if c not in table.columns]
    if missing and len(table):
        got = ", ".join(map(str, table.columns))
        raise UserError(
            f"a figure needs the columns {', '.join(columns)}; the table lacks {', '.join(missing)} (it has {got})"
        )
    return table if not missing else pd.DataFrame({c: pd.Series(dtype=float) for c in columns})


def by_value(table: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """One row per value of `x` with columns x, mean, low, high of `y`, in the order of appearance.

    The interval is given by the columns `<y>_low` and `<y>_high` where the table has them (the mean alone where they
    are empty), else it is the range over the rows, which are resamples.
    """
    low, high = (f"{y}_low", f"{y}_high") if {f"{y}_low", f"{y}_high"} <= set(table.columns) else (y, y)
    columns = list(dict.fromkeys([x, y, low, high]))
    usable = table[columns].dropna(subset=[x, y])
    grouped = usable.groupby(x, sort=False)
    found = pd.DataFrame({"mean": grouped[y].mean(), "low": grouped[low].min(), "high": grouped[high].max()})
    bounds = {side: pd.to_numeric(found[side]).fillna(found["mean"]) for side in ("low", "high")}
    return found.assign(**bounds).reset_index()
