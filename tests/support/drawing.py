"""Figures as a reader sees them, laid out, and their visible texts; or not painted at all."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text


def drawn(make: Callable[[], Figure]) -> Figure:
    """The figure, laid out."""
    figure = make()
    FigureCanvasAgg(figure).draw()
    return figure


def texts(figure: Figure) -> Iterator[Text]:
    """Every text that can be seen."""
    hidden: set[Text] = set()
    for axis in figure.axes:
        for side, limits in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim())):
            for tick in (*side.get_major_ticks(), *side.get_minor_ticks()):
                if not min(limits) <= tick.get_loc() <= max(limits) or not axis.axison:
                    hidden |= {tick.label1, tick.label2}
        if not axis.get_visible():
            hidden |= set(axis.findobj(Text))
    yield from (t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in hidden)


def save_blank(figure: Figure, to: str | Path | io.BytesIO, **options: Any) -> None:
    """In place of `Figure.savefig`: a file without a picture."""
    if isinstance(to, io.BytesIO):
        to.write(b"<svg/>")
    else:
        Path(to).write_bytes(b"")
