"""Model extraction in rounds: natural queries, then synthetic ones crafted on the substitute (paper Section 2)."""

from typing import Protocol

import torch
from torch import Tensor

from uapfp_dist.science.blackbox import Blackbox
from uapfp_dist.science.training import Trainer
from uapfp_dist.science.zoo.net import Net


class CraftQueries(Protocol):
    """Crafts `n` synthetic images on the substitute.

    `pool` holds the attacker's natural images and `asked` all images the victim has answered so far, natural and
    synthetic, both (B, c, h, w) on the net's device; returns (n, c, h, w) in [0, 1].
    """

    def __call__(self, substitute: Net, pool: Tensor, asked: Tensor, n: int, rng: torch.Generator) -> Tensor: ...


def extract(
    victim: Blackbox,
    pool: Tensor,
    trainer: Trainer,
    craft: CraftQueries,
    rounds: int,
    natural_share: float,
) -> None:
    """Train `trainer.net` on the victim's answers until budget and recipe are used up.

    The substitute keeps learning from round to round under one schedule; the steps are shared between the rounds in
    proportion to the labelled images at hand, so that a late query is seen about as often as an early one.

    Args:
        victim: answers and counts; its whole budget is spent.
        pool: (N, c, h, w) unlabelled natural images, none of them the victim's own.
        trainer: a substitute with random weights, its recipe and generator.
        craft: the attack.
        rounds: rounds of synthetic queries.
        natural_share: share of the budget spent on natural images first.
    """
    net, rng = trainer.net, trainer.rng
    assert isinstance(net, Net)
    order = torch.randperm(len(pool), generator=rng).to(pool.device)
    n_natural = min(len(pool), int(victim.budget * natural_share))
    sizes = _per_round(victim.budget - n_natural, rounds)
    images = pool[order[:n_natural]]
    targets = victim(images)
    net.normalise_by(images)
    weights = torch.tensor([float(n_natural + sum(sizes[:i])) for i in range(len(sizes) + 1)])
    until = (weights.cumsum(0) / weights.sum()).tolist()
    for size, share in zip(sizes, until, strict=False):
        trainer.run(images, targets, share)
        queries = craft(net, pool, images, size, rng)
        images = torch.cat([images, queries])
        targets = torch.cat([targets, victim(queries)])
    trainer.run(images, targets)


def _per_round(n_synthetic: int, rounds: int) -> list[int]:
    if n_synthetic == 0 or rounds == 0:
        return []
    base, extra = divmod(n_synthetic, rounds)
    return [size for i in range(rounds) if (size := base + (i < extra)) > 0]
