"""What a terminal is given beyond plain text."""

import os
import shutil
import sys
from typing import TextIO

WIDEST = 100
"""Columns of a help, at most."""


def bold(text: str, out: TextIO | None = None) -> str:
    """The text, bold where it goes to a terminal that may have colours."""
    return f"\x1b[1m{text}\x1b[0m" if has_colours(out or sys.stdout) else text


def has_colours(out: TextIO) -> bool:
    """A terminal, and nobody has said NO_COLOR (https://no-color.org)."""
    return out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def columns() -> int:
    """Of a help: those of the terminal, not more than are pleasant to read."""
    return min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)
