"""What every extraction attack provides."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from uapfp_dist.models.net import Net


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """Chooses the images that an attacker sends to the victim after natural ones; its fields are its parameters."""

    name: ClassVar[str]
    """In configurations and ids."""
    crafts_queries: ClassVar[bool] = True
    """False: natural images only, each sent once at most."""

    def natural_share(self, share: float) -> float:
        """The share of the budget that is spent on natural images: all of it if nothing is crafted, else `share`."""
        return share if self.crafts_queries else 1.0

    @abstractmethod
    def craft(
        self, substitute: Net, pool: Tensor, queried: Tensor, labels: Tensor, n: int, rng: torch.Generator
    ) -> Tensor:
        """Craft synthetic images on the substitute.

        Args:
            substitute: the attacker's model so far, in evaluation mode.
            pool: (N, c, h, w) natural images of the attacker, on the net's device.
            queried: (Q, c, h, w) all images the victim has been queried with so far, natural or synthetic.
            labels: (Q,) int64, the victim's for those, as far as the attacker does not change them.
            n: how many images.
            rng: CPU generator.

        Returns:
            (n, c, h, w) in [0, 1]; none if the attack crafts no queries.
        """
