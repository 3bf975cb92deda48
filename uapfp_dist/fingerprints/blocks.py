"""Keys of the blocks of a probe."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

UAP, RANDOM, LAP = "uap", "random", "lap"
"""Kinds of perturbations that come in several radii: universal, random, local (DeepFool's)."""
IPGUARD_K = "ipguard_k"
"""Points that the victim gives a wanted label, by a lead of k logits, which stands in place of a radius: one view."""
TWIN = "_probe"
"""Ends the kind of a block on points of PROBE, in place of the victim's training images."""
UAP_PROBE, RANDOM_PROBE, LAP_PROBE, IPGUARD_K_PROBE = (kind + TWIN for kind in (UAP, RANDOM, LAP, IPGUARD_K))
JOIN = "+"
"""Between the wire names of several blocks."""


@dataclass(frozen=True)
class BlockKey:
    """One block of a probe: a kind of images, at one radius where the kind comes in several."""

    kind: str
    radius: float | None = None
    """As a fraction of the paper's xi (of `IPGUARD_K` its k), to the six digits of its wire name."""

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
CLEAN_PROBE = BlockKey("clean_probe")
"""The points of PROBE as they are."""
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
ONE_VIEW = (IPGUARD.kind, IPGUARD_K, IPGUARD_K_PROBE)
"""Kinds whose images make a single view."""
TWINS = {kind: kind + TWIN for kind in (UAP, RANDOM, LAP, IPGUARD_K, PAPER.kind, DEEPFOOL.kind, LAP_MINIMAL.kind)}
"""Kind of perturbation to its twin on points of PROBE."""
CHURN = BlockKey("churn")
"""Images on which the victim disagrees with its siblings: no views; labels alone are known."""
CHURN_NATURAL = BlockKey("churn_natural")
"""The same among natural images as they are."""
CHURN_UAP = BlockKey("churn_uap")
"""The same among images moved by the victim's UAPs."""
CHURN_RANDOM = BlockKey("churn_random")
"""The same among images moved by random vectors of the UAPs' norm."""
RANDOM_PAPER = BlockKey(RANDOM, 1.0)
"""One random vector of the paper's xi."""
LAP_PAPER = BlockKey(LAP, 1.0)
"""DeepFool's perturbation of each point, rescaled to the paper's xi."""


def clean_of(block: BlockKey) -> BlockKey:
    """The block of the points that a block perturbs."""
    return CLEAN_PROBE if block == CLEAN_PROBE or block.kind in TWINS.values() else CLEAN


def twin_of(block: BlockKey) -> BlockKey:
    """The same on points of PROBE."""
    return CLEAN_PROBE if block == CLEAN else BlockKey(TWINS[block.kind], block.radius)
