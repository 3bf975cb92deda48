"""Suspects that were looked at with the same kit at other times."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class OtherLooks:
    """What Holm's correction must know of them."""

    p_values: tuple[float, ...] = ()
    """Adjusted, of each that was decided before the suspects were reserved; 1 of all others, as if nothing was found:
    whoever has seen a result could choose whom to look at next so that it becomes a claim."""
    register_head: str = ""
    """64 hex digits over the register that lists them; empty where there is none."""
    n_by_then: int | None = None
    """How many there were when the suspects were reserved; None: all."""
    stated: Mapping[str, float] = field(default_factory=dict)
    """Name of a suspect to its adjusted p-value that the register holds: no later result lowers it, not even that of a
    suspect that was to be judged with it."""
