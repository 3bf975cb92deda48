"""Tables as plain text: for Markdown, for a terminal."""

import pandas as pd

from uapfp_dist.reporting.number_format import cell


def markdown_table(table: pd.DataFrame) -> str:
    """A pipe table; bars and line breaks within a cell cannot end it."""
    rows = [[str(name) for name in table.columns], ["---"] * len(table.columns), *_cells(table)]
    return "\n".join(f"| {' | '.join(_escaped(text) for text in row)} |" for row in rows)


def aligned_table(table: pd.DataFrame) -> str:
    """Columns of equal width, two blanks apart."""
    rows = [[str(name) for name in table.columns], *_cells(table)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _cells(table: pd.DataFrame) -> list[list[str]]:
    return [[cell(value) for value in row] for row in table.itertuples(index=False, name=None)]


def _escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
