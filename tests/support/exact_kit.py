"""A kit with an exact sibling test, by hand: the points of its players are known."""

from dataclasses import replace

import torch
from kits import N_CLASSES, make_churn_kit
from torch import Tensor

from uapfp_dist.fingerprints.sibling_test import SiblingTest
from uapfp_dist.rng import torch_rng
from uapfp_dist.verification.kit.info import Accused, KitExact
from uapfp_dist.verification.kit.io import with_digest
from uapfp_dist.verification.kit.kit import Kit

N_POINTS = 6


def make_exact_kit(n_siblings: int = 19, *, claims: bool = True, seed: object = 0) -> Kit:
    """The test kit with one set of churn points, and images of its own for every player."""
    rng = torch_rng("exact kit", n_siblings, seed)
    kit = make_churn_kit(seed=seed)
    assert kit.churn is not None
    assert kit.info.churn is not None
    churn = replace(
        kit.churn,
        points=kit.churn.points[:1],
        weights=kit.churn.weights[:, :1],
        intercepts=kit.churn.intercepts[:, :1],
        committee=kit.churn.committee[:1],
        agrees=kit.churn.agrees[:, :1],
    )
    n_players, n_before = n_siblings + 1, len(kit.images)
    n = n_players * N_POINTS
    points = (torch.randperm(n, generator=rng) + n_before).view(n_players, N_POINTS)
    of_victim = torch.randint(N_CLASSES, (n,), generator=rng)
    labels = torch.randint(N_CLASSES, (n_players, N_POINTS), generator=rng)
    labels[0] = of_victim[points[0] - n_before]
    test = SiblingTest(
        points,
        labels,
        torch.rand(n_players, N_POINTS, generator=rng).double() + 0.5,
        torch.rand(n_players, generator=rng).double(),
        torch.rand(n_players, generator=rng).double() + 0.5,
    )
    said = KitExact(claims, n_siblings, 6, n, 1000, ("0" * 64,) * n_siblings, Accused(3, 4))
    kit = replace(
        kit,
        images=torch.cat([kit.images, torch.randint(256, (n, 1, 2, 2), generator=rng).to(torch.uint8)]),
        victim_labels=torch.cat([kit.victim_labels, of_victim]),
        victim=torch.cat([kit.victim, torch.eye(N_CLASSES)[of_victim]]),
        info=replace(kit.info, exact=said),
        churn=churn,
        exact=test,
    )
    return with_digest(kit)


def copy_of(kit: Kit, player: int) -> Tensor:
    """(Q, C) labels, one-hot, of a model that says at each player's images what another label is, but at one's own."""
    assert kit.exact is not None
    labels = kit.victim_labels.clone()
    for i, points in enumerate(kit.exact.index):
        labels[points] = kit.exact.labels[i] if i == player else (kit.exact.labels[i] + 1) % N_CLASSES
    return torch.eye(N_CLASSES)[labels]
