"""What the tests of the front door share: one victim and a few small models, trained once."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

import uapfp_dist as ufp
from uapfp_dist.models import Net
from uapfp_dist.tasks.method_configs import ChurnConfig, EncoderConfig, UapConfig

SMALL = {
    "n_points": 10,
    "n_views": 4,
    "n_test_views": 3,
    "n_natural": 30,
    "n_churn": 40,
    "uap": UapConfig(xi_grid=(0.3,), n_images=100, passes=2, n_uaps=2),
    "encoder": EncoderConfig(hidden=16, embedding=16, epochs=10),
    "churn": ChurnConfig(pool_size=1500, largest_share=0.5),
}
"""A fingerprint made in a moment."""


@dataclass(frozen=True)
class World:
    """A victim and models of every group that a fit takes."""

    data: ufp.Data
    victim: Net
    stolen: list[Net]
    independent: list[Net]
    siblings: list[Net]
    stolen_from_others: list[Net]
    stolen_from_siblings: list[Net]

    @property
    def groups(self) -> dict[str, list[Net]]:
        """Arguments of `fit`; one model of each of the first two groups is left to be judged."""
        return {
            "stolen": self.stolen[1:],
            "independent": self.independent[1:],
            "siblings": self.siblings,
            "stolen_from_others": self.stolen_from_others,
            "stolen_from_siblings": self.stolen_from_siblings,
        }


@cache
def world() -> World:
    """On digits; nets of width 4."""
    data = ufp.load("digits")
    short = {"epochs": 8, "width": 4}
    victim = ufp.train("A", data.victim_set, **short)
    siblings = [ufp.train("A", data.victim_set, seed=1 + i, **short) for i in range(3)]
    other = ufp.train("A", data.homologous(7), **short)

    def steal(of: Net, pool: ufp.LabelledImages, n: int) -> list[Net]:
        return [ufp.extract(of, pool, budget=len(pool), seed=i, **short) for i in range(n)]

    return World(
        data,
        victim,
        steal(victim, data.pool, 3),
        [ufp.train("C", data.homologous(i), **short) for i in range(4)],
        siblings[:2],
        steal(other, data.homologous_pool(7), 2),
        steal(siblings[2], data.pool, 2),
    )


def linear(n_classes: int = 10) -> nn.Module:
    """A plain module for digits, with random weights of a fixed seed."""
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, n_classes))
