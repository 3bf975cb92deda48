"""Linear nets that disagree on many images, and the churn points among them."""

import torch
from torch import Tensor, nn

from uapfp_dist.fingerprints.churn import (
    ChurnPoints,
    find_churn,
)
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.method_configs import ChurnConfig

N_IMAGES, N_SIBLINGS, N_CLASSES, SIDE = 30, 10, 4, 8
CONFIG = ChurnConfig(pool_size=170, candidates_per_image=2, max_points=60, n_points=20)


class Linear(nn.Module):
    """A net whose labels differ from those of its like on many images."""

    def __init__(self, seed: object, shared: float = 0.8) -> None:
        super().__init__()
        common, own = (torch.randn(N_CLASSES, SIDE * SIDE, generator=torch_rng("linear", s)) for s in ("all", seed))
        self.weight = nn.Parameter(shared * common + (1 - shared) * own)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return (images - 0.5).flatten(1) @ self.weight.T


VICTIM, SIBLINGS = Linear("victim"), [Linear(i) for i in range(N_SIBLINGS)]
IMAGES = torch.rand(N_IMAGES, 1, SIDE, SIDE, generator=torch_rng("images"))


def found(config: ChurnConfig = CONFIG, seed: str = "seed") -> ChurnPoints:
    """Of the linear nets."""
    return find_churn(VICTIM, SIBLINGS, IMAGES, config, seed)


def same(one: ChurnPoints, two: ChurnPoints) -> bool:
    """Bit for bit."""
    pairs = [(getattr(one, name), getattr(two, name)) for name in ("images", "labels", "committee", "base")]
    counts = [(each.pool_size, each.n_departures) for each in (one, two)]
    return all(torch.equal(a, b) for a, b in pairs) and counts[0] == counts[1]
