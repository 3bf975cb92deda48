"""Markdown of a page of results."""

import math
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a bar inside a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def details(title: str, content: str) -> str:
    """Content behind a fold."""
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>"


def share(n: int, of: int, low: float, high: float) -> str:
    """`.80 [.69, .90] (191/238)`."""
    return f"{n / max(of, 1):.2f} [{low:.2f}, {high:.2f}] ({n}/{of})"


def number(value: float) -> str:
    """Two decimals, or three digits from 10 on; a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:.3g}" if abs(value) >= 10 else f"{value:.2f}"


def interval(value: float, low: float, high: float) -> str:
    """`0.98 [0.95, 1.00]`; the number alone where it has no interval."""
    return number(value) if math.isnan(low) or math.isnan(high) else f"{value:.2f} [{low:.2f}, {high:.2f}]"
