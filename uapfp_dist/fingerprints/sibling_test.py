"""The exact sibling test: does a suspect agree with the victim as with none of the victim's siblings?

Players are the victim and its m siblings: one recipe, other seeds. If the suspect learned nothing from the victim's
run they are exchangeable given the suspect, whatever the suspect is. So with a statistic that treats all players alike
p = (1 + siblings that score at least as high) / (1 + m) is exact. (Kuditipudi et al. 2025, arXiv 2510.19796, for
language models; Zhang et al. 2024, arXiv 2409.19798.) Every rule here is one rule for all players: permuting them
permutes the statistics, bit for bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.fingerprints.churn_weights import Candidates, fit_on, rank_points
from uapfp_dist.tasks.method_configs import SiblingTestConfig

DIGITS = 9
"""Decimals of a statistic that are kept: another processor sums in another order, and must rank alike."""
MISSING = -1
"""The label of an image that was not answered: it agrees with no player."""


@dataclass(frozen=True)
class Players:
    """P players on a pool of N images, each with T models stolen from it, alike for all."""

    labels: Tensor
    """(P, N) int64."""
    margins: Tensor
    """(P, N) float32: each player's largest minus its second probability."""
    stolen: Tensor
    """(P, T, N) int64: what the models stolen from each player say; T 0: nothing is learned."""
    base: Tensor
    """(N,) int64: of which image each was made."""
    independent: Tensor | None = None
    """(M, N) int64: what models say that are derived from no player; scores are centred by theirs."""


@dataclass(frozen=True)
class SiblingTest:
    """What a suspect is asked, and how the answers are scored; P players, n images of each."""

    index: Tensor
    """(P, n) int64 into the pool."""
    labels: Tensor
    """(P, n) int64: what each player says there."""
    weights: Tensor
    """(P, n) float64: of agreement."""
    centre: Tensor
    """(P,) float64: mean score of independent models, else of those derived from the other players."""
    scale: Tensor
    """(P,) float64: standard deviation of the scores of those derived from the other players."""

    @property
    def images(self) -> Tensor:
        """(U,) int64: the images of all players, each once; they are asked in one random order."""
        return self.index.unique()

    def statistics(self, answers: Tensor) -> Tensor:
        """(M, P) float64: how far each player's score lies above that of models not derived from it.

        Args:
            answers: (M, N) int64 labels of M suspects on the pool; only those of `images` are read, `MISSING` ones
                agree with nobody.
        """
        agree = answers[:, self.index] == self.labels
        statistics = ((agree.double() * self.weights).sum(2) - self.centre) / self.scale
        return statistics.round(decimals=DIGITS)


def sibling_test(players: Players, config: SiblingTestConfig, ranked: Sequence[Tensor] | None = None) -> SiblingTest:
    """Choose and weigh each player's images against the other players, the victim among them.

    Without stolen models the images of the player's largest margin count alike. With them a ridge logistic regression
    tells those stolen from the player from those stolen from the others (round robin).

    Args:
        players: the victim first.
        config: how many images, and among which.
        ranked: `rank_images` of these players, where it is known: it is the same for every number of images.

    Raises:
        UserError: fewer than two players, two that are the same, or fewer images than asked for.
    """
    n_players, n_images = players.labels.shape
    if n_players < 2:
        raise UserError(f"siblings: expected at least 1 for the exact test, got {n_players - 1}; train some")
    same = (players.labels[:, None] == players.labels).all(2).triu(1).nonzero().tolist()
    if same:
        first, second = same[0]
        raise UserError(
            f"siblings: expected models of different runs, players {first} and {second} (the victim is 0) say the same "
            f"to all {n_images} images; train one again with another seed"
        )
    ranked = rank_images(players, config) if ranked is None else ranked
    scorers = [_player(players, i, order, config) for i, order in enumerate(ranked)]
    return SiblingTest(*(torch.stack(parts) for parts in zip(*scorers, strict=True)))


def p_values(statistics: Tensor) -> Tensor:
    """(M,) float64: (1 + siblings at least as high) / (1 + m); player 0 is the victim, ties count against it.

    Args:
        statistics: (M, P) float64 of M suspects.
    """
    return (1.0 + (statistics[:, 1:] >= statistics[:, :1]).sum(1).double()) / statistics.shape[1]


def siblings_needed(alpha: float, n_suspects: int = 1) -> int:
    """So that one of `n_suspects`, corrected by Holm, can be claimed at `alpha`."""
    return max(1, int(np.ceil(n_suspects / alpha - 1e-9)) - 1)


def rank_images(players: Players, config: SiblingTestConfig) -> tuple[Tensor, ...]:
    """(K,) int64 images of each player, the most telling first, at most `per_image` of one picture."""
    return tuple(_ranked(players, player, config) for player in range(len(players.labels)))


def _ranked(players: Players, player: int, config: SiblingTestConfig) -> Tensor:
    order = _disagreements_first(players, player, config)
    if not players.stolen.shape[1]:
        return order
    candidates = order[: config.n_candidates]
    own, negatives = _agreement(players, player, candidates)
    chosen = rank_points(*_training(own, negatives), Candidates(players.base[candidates], config.per_image))
    return candidates[chosen]


def _player(players: Players, player: int, order: Tensor, config: SiblingTestConfig) -> tuple[Tensor, ...]:
    """Index, labels, weights, centre and scale of one player."""
    if len(order) < config.n_points:
        raise UserError(
            f"n_points: expected at most {len(order)} images of a player, at most {config.per_image} of one picture, "
            f"got {config.n_points}; lower it, or take a larger pool"
        )
    index = order[: config.n_points]
    own, negatives = _agreement(players, player, index)
    weights = torch.full((config.n_points,), 1.0 / config.n_points, dtype=torch.float64)
    if len(own):
        weights = fit_on(*_training(own, negatives), torch.arange(config.n_points)).weights
    labels = players.labels[player, index]
    centre, scale = standardised(negatives, weights)
    if players.independent is not None:
        # Some players resemble all independent models more than others do: the mean over such models says how much.
        centre, _ = standardised(players.independent[:, index] == labels, weights)
    return index, labels, weights, centre, scale


def _agreement(players: Players, player: int, index: Tensor) -> tuple[Tensor, Tensor]:
    """Whether the models stolen from a player, and all others, give its labels at (n,) images: bool, a row for each.

    All others are the other players and what was stolen from them.
    """
    others = _others(players, player)
    labels = players.labels[player, index]
    stolen = players.stolen[:, :, index][others].flatten(0, 1)
    negatives = torch.cat([stolen, players.labels[:, index][others]]) == labels
    return _canonical(players.stolen[player][:, index] == labels), _canonical(negatives)


def _others(players: Players, player: int) -> list[int]:
    """The other players."""
    return [i for i in range(len(players.labels)) if i != player]


def _training(own: Tensor, negatives: Tensor) -> tuple[Tensor, range, range]:
    """The rows of both, and which are which."""
    return torch.cat([own, negatives]), range(len(own)), range(len(own), len(own) + len(negatives))


def standardised(negatives: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the scores of models not derived from a player.

    Args:
        negatives: (M, n) bool: which of them agree with it at its images.
        weights: (n,) float64.
    """
    scores = (_canonical(negatives).double() * weights).sum(1)
    # Negatives that all score alike, as a single one does, have no spread: any then is as good, alike for all.
    return scores.mean(), scores.std(correction=0).clamp(min=1e-6)


def _disagreements_first(players: Players, player: int, config: SiblingTestConfig) -> Tensor:
    """Images by the player's margin, disagreements first; the rest by fewer players that agree, then margin."""
    others = _others(players, player)
    n_agree = (players.labels[others] == players.labels[player]).sum(0)
    disagrees = n_agree <= config.largest_share * len(others) + 1e-9
    rank = torch.where(disagrees, torch.zeros_like(n_agree), n_agree)
    keys = (players.margins[player].neg().numpy(), rank.numpy())  # the last key counts first
    order = torch.from_numpy(np.lexsort(keys))
    return Candidates(players.base, config.per_image).first(order, len(order))


def _canonical(agree: Tensor) -> Tensor:
    """The rows of (M, n) bool in an order that follows from them alone, so that sums do not know the players'."""
    packed = np.packbits(agree.numpy(), axis=1)
    return agree[torch.from_numpy(np.lexsort(packed.T[::-1]))]
