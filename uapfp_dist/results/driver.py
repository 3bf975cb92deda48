"""What tasks cost the process that hands them out: a table and a curve over their number."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from uapfp_dist.reporting.figures.style import COLUMN, CYCLE, SHAPES, describe_axes, legend, subplots
from uapfp_dist.results.markdown import table

GIGABYTES, SECONDS = 2.0, 60.0
"""What a driver of 100,000 specs may take at most, in memory and to resume."""


@dataclass(frozen=True)
class DriverCost:
    """A number of specs through one process."""

    cpu: float
    """Seconds of this process for all of them, without its workers."""
    wall: float
    """Seconds, with whatever else the machine did."""
    peak_mb: float
    """The most memory that the process ever had."""
    added_mb: float
    """That the specs added to it; the rest are libraries."""


@dataclass(frozen=True)
class DriverPoint:
    """One size."""

    specs: int
    run: DriverCost
    """None of them stored: each goes to a worker, which does nothing, and its outcome to the central actor."""
    resume: DriverCost
    """All but a few stored: each is read, verified and told to the central actor."""


@dataclass(frozen=True)
class DriverScale:
    """All sizes, ascending."""

    points: tuple[DriverPoint, ...]

    def slope(self, name: str, field: str) -> float:
        """Of the last two sizes: the exponent of the growth, 1 where it is linear.

        Args:
            name: `run` or `resume`.
            field: of `DriverCost`.
        """
        first, last = ((point.specs, getattr(getattr(point, name), field)) for point in self.points[-2:])
        return math.log(last[1] / first[1]) / math.log(last[0] / first[0])


def driver_section(scale: DriverScale) -> Iterator[str]:
    """Markdown: a row per size, and how cost grows."""
    header = ("specs", *(f"{name}: {what}" for name in ("run", "resume") for what in ("CPU ms each", "s", "MB, added")))
    yield table(header, (_row(point) for point in scale.points))
    if len(scale.points) > 1:
        slopes = ", ".join(
            f"{name} {scale.slope(name, 'cpu'):.2f} in CPU time, {scale.slope(name, 'added_mb'):.2f} in memory"
            for name in ("run", "resume")
        )
        yield f"Exponents of growth between the last two sizes (1: linear): {slopes}."


def _row(point: DriverPoint) -> tuple[str, ...]:
    cells = [f"{point.specs:,}"]
    for cost in (point.run, point.resume):
        cells += [
            f"{1000 * cost.cpu / point.specs:.3f}",
            f"{cost.wall:.1f}",
            f"{cost.peak_mb:.0f}, {cost.added_mb:.0f}",
        ]
    return tuple(cells)


def driver_figure(scale: DriverScale) -> Figure:
    """CPU time and memory over the number of specs, with the limits that they should keep."""
    figure, (times, memory) = subplots(COLUMN, 4.2, 2, 1, sharex=True)
    sizes = [point.specs for point in scale.points]
    for i, name in enumerate(("run", "resume")):
        costs: Sequence[DriverCost] = [getattr(point, name) for point in scale.points]
        drawn = ((times, [cost.cpu for cost in costs]), (memory, [cost.peak_mb / 1000 for cost in costs]))
        for axis, values in drawn:
            axis.plot(sizes, values, color=CYCLE[i], marker=SHAPES[i], label=name, lw=1.1, ms=4)
    for axis, limit in ((times, SECONDS), (memory, GIGABYTES)):
        axis.axhline(limit, color="0.5", lw=0.8, ls=":")
        axis.set_xscale("log")
    times.set_yscale("log")
    memory.set_ylim(0.0, max(1.1 * GIGABYTES, *(1.1 * p.run.peak_mb / 1000 for p in scale.points)))
    describe_axes(times, y=f"driver's CPU time, s\n(line: {SECONDS:g})")
    describe_axes(memory, x="specs", y=f"driver's memory, GB\n(line: {GIGABYTES:g})")
    legend(figure, 2)
    return figure
