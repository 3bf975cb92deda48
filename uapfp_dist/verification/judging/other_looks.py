"""Suspects that were looked at with the same kit at other times."""

from dataclasses import dataclass


@dataclass(frozen=True)
class OtherLooks:
    """What Holm's correction must know of them."""

    p_values: tuple[float, ...] = ()
    """Of each; 1 where there is no result."""
    register_head: str = ""
    """64 hex digits over the register that lists them; empty where there is none."""
