"""Keys of the blocks of a probe."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

UAP, RANDOM, LAP = "uap", "random", "lap"
"""Kinds of perturbations that come in several radii: universal, random, local (DeepFool's)."""
JOIN = "+"
"""Between the wire names of several blocks."""


@dataclass(frozen=True)
class BlockKey:
    """One block of a probe: a kind of images, at one radius where the kind comes in several."""

    kind: str
    radius: float | None = None
    """As a fraction of the paper's xi, to the six digits of its wire name."""

    def __post_init__(self) -> None:
        if self.radius is not None:
            object.__setattr__(self, "radius", float(f"{self.radius:g}"))

    @staticmethod
    def parse(wire: str) -> BlockKey:
        """The inverse of `wire`."""
        kind, _, radius = wire.partition("@")
        return BlockKey(kind, float(radius) if radius else None)

    @property
    def wire(self) -> str:
        """As tensors, JSON and random streams name it: `clean`, `uap@0.5`."""
        return self.kind if self.radius is None else f"{self.kind}@{self.radius:g}"

    def __str__(self) -> str:
        return self.wire


def join_wire(blocks: Iterable[BlockKey]) -> str:
    """The wire name of several blocks together: `uap@0.5+uap@0.7`."""
    return JOIN.join(block.wire for block in blocks)


def parse_blocks(wire: str) -> tuple[BlockKey, ...]:
    """The inverse of `join_wire`."""
    return tuple(map(BlockKey.parse, wire.split(JOIN)))


CLEAN = BlockKey("clean")
"""The points as they are."""
NATURAL = BlockKey("natural")
"""Natural errors: no views, always sent whole."""
PAPER = BlockKey("uap_paper")
"""The paper's single UAP."""
DEEPFOOL = BlockKey("uap_deepfool")
"""A single UAP of the same radius, made by Moosavi-Dezfooli's algorithm."""
LAP_MINIMAL = BlockKey("lap_minimal")
"""DeepFool's own perturbation of each point, not rescaled."""
IPGUARD = BlockKey("ipguard")
"""Points near the decision boundary: one view."""
RANDOM_PAPER = BlockKey(RANDOM, 1.0)
"""One random vector of the paper's xi."""
LAP_PAPER = BlockKey(LAP, 1.0)
"""DeepFool's perturbation of each point, rescaled to the paper's xi."""
