"""Tables as plain text, each interval beside its value: for Markdown, for a terminal."""

import pandas as pd

from uapfp_dist.reporting.number_format import cell, with_intervals


def markdown_table(table: pd.DataFrame) -> str:
    """A pipe table; bars and line breaks within a cell cannot end it."""
    head, *rows = ([_escaped(text) for text in row] for row in _cells(table))
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def aligned_table(table: pd.DataFrame) -> str:
    """Columns of equal width, two blanks apart."""
    rows = _cells(table)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _cells(table: pd.DataFrame) -> list[list[str]]:
    """The names of the columns first."""
    shown = with_intervals(table)
    return [
        list(map(str, shown.columns)),
        *([cell(v) for v in row] for row in shown.itertuples(index=False, name=None)),
    ]


def _escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
