"""The unweighted sibling test: images that are asked once, and read by as many of them as a budget allows."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uapfp_dist.fingerprints.pool import Pool, PoolLabels
from uapfp_dist.fingerprints.sibling_test import Players, SiblingTest, sibling_test, standardised
from uapfp_dist.tasks.method_configs import SiblingTestConfig

EXACT_POINTS = (25, 50, 100, 200)
"""Images of each player; with twenty players 500, 1,000, 2,000 and 4,000 in all, less what they share."""


@dataclass(frozen=True)
class SiblingPoints:
    """U images on which P players, the victim first, disagree with each other; n of each, its largest margins first."""

    images: Tensor
    """(U, c, h, w) uint8."""
    index: Tensor
    """(P, n) int64: the images of each player."""
    said: Tensor
    """(P, U) int64: what every player says."""

    def n_images(self, n_points: int) -> int:
        """How many images the first of each player are in all."""
        return len(self.index[:, :n_points].unique())

    def test(self, n_points: int) -> SiblingTest:
        """The unweighted test by the first images of each player."""
        index = self.index[:, :n_points]
        labels = self.said.gather(1, index)
        weights = torch.full(index.shape, 1.0 / index.shape[1], dtype=torch.float64)
        agree = self.said[:, index] == labels
        others = [agree[torch.arange(len(agree)) != player, player] for player in range(len(index))]
        scales = [standardised(one, own) for one, own in zip(others, weights, strict=True)]
        centre, scale = (torch.stack(parts) for parts in zip(*scales, strict=True))
        return SiblingTest(index, labels, weights, centre, scale)


def sibling_points(pool: Pool, said: Sequence[PoolLabels], config: SiblingTestConfig) -> SiblingPoints:
    """The images of a test that learns nothing.

    Raises:
        UserError: fewer than two players, two that are the same, or fewer images than asked for.
    """
    labels, margins = (torch.stack([getattr(one, name) for one in said]) for name in ("labels", "margins"))
    nothing = torch.zeros(len(said), 0, len(pool.base), dtype=torch.int64)
    test = sibling_test(Players(labels, margins, nothing, pool.base), config)
    union, index = test.index.unique(return_inverse=True)
    return SiblingPoints(pool.images[union], index, labels[:, union])
