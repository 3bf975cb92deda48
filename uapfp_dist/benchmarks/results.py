"""Results of the parts of the benchmark that run on Ray, apart from Ray itself, which takes seconds to import."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """A zoo, trained."""

    wall: float
    """Seconds from the start of the first model after the victim to the end of the last."""
    busy: float
    """Seconds that all workers together spent on models."""


@dataclass(frozen=True)
class Scaling:
    """The zoo with one worker, two workers and a bare pool of two processes."""

    speedup: float
    """Wall time of one worker over that of two."""
    busy: float
    """Share of wall time x workers that two workers spend on models."""
    overhead: float
    """Extra wall time of two workers over a bare pool, as a share of the latter."""
    runs: dict[str, Run]
