"""Models of an owner's: a victim that was brought along, and siblings by a function of the owner's."""

from __future__ import annotations

from dataclasses import dataclass

from uapfp_dist.tasks.hashing import wire_names


@wire_names("Imported", "weights mean std")
@dataclass(frozen=True)
class Imported:
    """A trained model of its owner's; its artifact is put into the store before anything else is done."""

    weights: str
    """SHA-256 of the file of the weights."""
    mean: tuple[float, ...] | None = None
    """Subtracted from each channel of an image in [0, 1]; None: what the weights hold, else 0."""
    std: tuple[float, ...] | None = None
    """What each channel is then divided by; None: what the weights hold, else 1."""


@wire_names("OwnerTrained", "function source mean std")
@dataclass(frozen=True)
class OwnerTrained:
    """Trained on exactly D_v by a function of the owner's, as the owner's victim was: its sibling."""

    function: str
    """`package.module:function`."""
    source: str = ""
    """SHA-256 of the file that defines it; empty where there is none."""
    mean: tuple[float, ...] | None = None
    """As of the victim; see `Imported`."""
    std: tuple[float, ...] | None = None
    """Likewise."""
