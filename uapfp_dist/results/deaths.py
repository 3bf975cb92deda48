"""A table of random deaths, by what died."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from uapfp_dist.results.markdown import table


@dataclass(frozen=True)
class Count:
    """What was made again in a run."""

    in_flight: int
    """Tasks in work at the death, by what died."""
    made_again: int
    """Tasks begun beyond one for each spec."""
    stored_again: int
    """Artifacts stored beyond one for each spec."""
    beyond: tuple[str, ...]
    """Specs begun or stored more often than the death explains."""


@dataclass(frozen=True)
class Fault:
    """A death."""

    victim: str


@dataclass(frozen=True)
class Run:
    """A run in which something died, as `jobs/hosts.py` writes it."""

    kind: str
    seed: int
    fault: Fault
    survived: bool
    verdicts_equal: bool
    seconds: float
    count: Count
    recovery_seconds: float | None = None
    """Until all that was in flight is stored."""


@dataclass(frozen=True)
class Deaths:
    """The file."""

    runs: tuple[Run, ...]


def deaths_section(deaths: Deaths) -> Iterator[str]:
    """A row for each victim, and one for all."""
    by_victim: dict[str, list[Run]] = {}
    for run in deaths.runs:
        by_victim.setdefault(run.fault.victim, []).append(run)
    rows = [_row(victim, by_victim[victim]) for victim in sorted(by_victim)]
    header = ("died", "survived", "as undisturbed", "in flight", "begun again", "stored again", "beyond", "seconds")
    yield table(header, [*rows, _row("**all**", deaths.runs)])
    yield (
        "Survived: the verdicts are, bit for bit, those of one undisturbed process, and nothing was made again beyond "
        "what the dead was at work on. Numbers of tasks are sums over runs; *seconds*: until all that was in flight "
        "was stored, median (longest), over the runs in which anything was."
    )


def _row(name: str, runs: Sequence[Run]) -> tuple[str, ...]:
    seconds = [run.recovery_seconds for run in runs if run.recovery_seconds is not None and run.count.in_flight]
    counts = [run.count for run in runs]
    return (
        name,
        f"{sum(run.survived for run in runs)} of {len(runs)}",
        f"{sum(run.verdicts_equal for run in runs)} of {len(runs)}",
        str(sum(count.in_flight for count in counts)),
        str(sum(count.made_again for count in counts)),
        str(sum(count.stored_again for count in counts)),
        str(sum(len(count.beyond) for count in counts)),
        f"{statistics.median(seconds):.0f} ({max(seconds):.0f})" if seconds else "-",
    )
