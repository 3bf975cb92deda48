"""Knockoff Nets (Orekondy et al., CVPR 2019)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from uapfp_dist.attacks.attack import Attack
from uapfp_dist.models.net import Net


@dataclass(frozen=True, kw_only=True)
class Knockoff(Attack):
    """Natural images drawn at random, each sent once; nothing is crafted."""

    name: ClassVar[str] = "knockoff"
    crafts_queries: ClassVar[bool] = False

    def craft(
        self, substitute: Net, pool: Tensor, queried: Tensor, labels: Tensor, n: int, rng: torch.Generator
    ) -> Tensor:
        """No image."""
        return pool[:0]
