"""Numbers and intervals as text for readers."""

import math
from numbers import Integral, Real

import pandas as pd

NOT_MEASURED = "\u2013"


def with_intervals(table: pd.DataFrame) -> pd.DataFrame:
    """The table with every interval merged into the column of its value, `0.93 [0.90, 0.96]`.

    Intervals are the columns `<x>_low` and `<x>_high` of a column `<x>`, and `low` and `high` of a column `mean`, or
    else of the column before `low`.
    """
    columns = [str(c) for c in table.columns]
    bounds = {c: (f"{c}_low", f"{c}_high") for c in columns if {f"{c}_low", f"{c}_high"} <= set(columns)}
    if {"low", "high"} <= set(columns):
        before = columns[: columns.index("low")]
        owner = "mean" if "mean" in columns else before[-1] if before else None
        if owner is not None and owner not in bounds:
            bounds[owner] = ("low", "high")
    merged = {
        owner: [interval(*values) for values in zip(table[owner], table[low], table[high], strict=True)]
        for owner, (low, high) in bounds.items()
    }
    bound_columns = [name for pair in bounds.values() for name in pair]
    return table.assign(**merged).drop(columns=bound_columns) if merged else table


def interval(value: object, low: object, high: object) -> str:
    """`0.93 [0.90, 0.96]`; the value alone without a finite interval."""
    if not (_measured(value) and _measured(low) and _measured(high)):
        return cell(value)
    # The same precision for all three: two decimals for rates.
    numbers = [float(x) for x in (value, low, high)]  # type: ignore[arg-type]
    middle, bottom, top = (f"{x:.2f}" if max(map(abs, numbers)) < 10 else number(x) for x in numbers)
    return f"{middle} [{bottom}, {top}]"


def _measured(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def cell(value: object) -> str:
    """A value as text: three significant digits, integers in full, a dash for None, NaN and infinity."""
    if value is None or value is pd.NA or value is pd.NaT:
        return NOT_MEASURED
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return f"{int(value):,}" if abs(int(value)) >= 1000 else str(int(value))
    if isinstance(value, Real):
        return number(float(value))
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(cell(item) for item in value) or NOT_MEASURED
    return str(value)


def number(value: float) -> str:
    """Three significant digits: 0.932, 12.3, 1,235, 1e-15."""
    if not math.isfinite(value):
        return NOT_MEASURED
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}" if abs(value) >= 1000 else str(int(value))
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    if abs(value) < 1e-3:
        return f"{value:.2g}"
    return f"{value:#.3g}"


def percent(share: float) -> str:
    """A share as `93 %`, `3.8 %`, `99.6 %`: 0 and 100 stand for none and all alone, down to a thousandth."""
    if not math.isfinite(share):
        return NOT_MEASURED
    value = 100 * share
    return f"{value:.0f} %" if 10 <= value <= 99 else f"{float(f'{value:.1f}'):g} %"
