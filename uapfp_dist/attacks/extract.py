"""Model extraction in rounds: natural queries, then synthetic ones crafted on the substitute (paper Section 2)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from uapfp_dist.attacks.attack import Attack
from uapfp_dist.errors import UserError
from uapfp_dist.models.blackbox import Blackbox
from uapfp_dist.models.net import Net
from uapfp_dist.models.precision import autocast
from uapfp_dist.models.training import AfterStep, Trainer


@dataclass(frozen=True, eq=False)
class LabelledQueries:
    """What a substitute is trained on in the end: N images, in the order in which they were sent."""

    images: Tensor
    """(N, c, h, w) in [0, 1], natural ones first; uint8 where a GPU holds them so and none is crafted."""
    targets: Tensor
    """(N,) int64 labels or (N, C) probabilities."""


class DivergedError(RuntimeError):
    """A substitute whose weights or queries are no longer finite: another seed may do better."""


@dataclass(frozen=True, eq=False)
class TrueLabels:
    """The true labels that a mixing attacker has of the pool.

    Raises:
        UserError: a share outside [0, 1).
    """

    labels: Tensor
    """(N,) int64, of the pool, on its device."""
    share: float
    """Of the natural images, at random, that are trained on with these instead of the victim's responses."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.share < 1.0:
            raise UserError(
                f"true_share: expected a share of at least 0 and below 1, got {self.share}; at 1 nothing is stolen: "
                "train an independent model instead"
            )


def extract(
    victim: Blackbox,
    pool: Tensor,
    trainer: Trainer,
    attack: Attack,
    *,
    rounds: int,
    natural_share: float,
    true_labels: TrueLabels | None = None,
    relabel: Callable[[Tensor], Tensor] = lambda targets: targets,
    after_step: AfterStep | None = None,
) -> LabelledQueries:
    """Train `trainer.net` on the victim's responses until budget and recipe are used up.

    The substitute keeps learning from round to round under one schedule; the steps are shared between the rounds in
    proportion to the labelled images at hand, so that a late query is seen about as often as an early one.

    Args:
        victim: responds and counts; an attack that crafts queries spends its whole budget.
        pool: (N, c, h, w) unlabelled natural images, none of them the victim's own; at least one.
        trainer: a substitute with random weights, its recipe and generator.
        attack: one that crafts no queries sends natural images only, each at most once, whatever `rounds` and
            `natural_share` are: what is left of a budget beyond N stays unspent, as `victim.queries` shows.
        rounds: rounds of synthetic queries.
        natural_share: share of the budget, in [0, 1], spent on natural images first; at least one image is.
        true_labels: of an attack that crafts no queries. Images and their order stay those of an attacker without
            them: the victim is sent fewer, at least one.
        relabel: what the attacker does to labels, (n,) int64 or (n, C) probabilities, before training on them: once
            to those of the natural images, once to those of each round.
        after_step: as for `Trainer.run`.

    Returns:
        all images and what was trained on for them.

    Raises:
        UserError: an empty pool, a share outside [0, 1], true labels beside crafted queries, a victim that responds
            with NaN.
        DivergedError: the substitute is not finite after a round, or crafts such images.
    """
    net, rng = trainer.net, trainer.rng
    assert isinstance(net, Net)
    n_natural = n_natural_queries(len(pool), victim.budget, attack.natural_share(natural_share))
    sizes = _per_round(victim.budget - n_natural, rounds) if attack.crafts_queries else []
    order = order_of_queries(len(pool), rng).to(pool.device)
    images = pool[order[:n_natural]]
    targets = relabel(_natural_targets(victim, images, attack, true_labels, order[:n_natural]))
    net.normalise_by(images)
    weights = torch.tensor([float(n_natural + sum(sizes[:i])) for i in range(len(sizes) + 1)])
    until = (weights.cumsum(0) / weights.sum()).tolist()
    for size, share in zip(sizes, until, strict=False):
        trainer.run(images, targets, share, after_step)
        _check_finite("weights", trainer, *net.parameters())
        labels = targets if targets.dim() == 1 else targets.argmax(1)
        with autocast(pool.device, trainer.recipe.precision):
            queries = attack.craft(net, pool, images, labels, size, rng)
        _check_finite("queries", trainer, queries)
        images = torch.cat([images, queries])
        targets = torch.cat([targets, relabel(victim.response.targets(victim(queries)))])
    trainer.run(images, targets, after_step=after_step)
    _check_finite("weights", trainer, *net.parameters())
    return LabelledQueries(images, targets)


def order_of_queries(n_pool: int, rng: torch.Generator) -> Tensor:
    """(n_pool,) int64: the natural images in the order in which they are sent; the first that is drawn of `rng`."""
    return torch.randperm(n_pool, generator=rng)


def n_natural_queries(n_pool: int, budget: int, share: float) -> int:
    """How many of the pool's images are sent.

    Raises:
        UserError: an empty pool, or a share outside [0, 1].
    """
    if n_pool == 0:
        raise UserError("pool: expected at least one natural image to send, got none; leave some outside D_v")
    if not 0.0 <= share <= 1.0:
        raise UserError(f"natural_share: expected a share between 0 and 1, got {share}")
    return min(n_pool, max(1, int(budget * share)))


def _natural_targets(
    victim: Blackbox, images: Tensor, attack: Attack, true_labels: TrueLabels | None, index: Tensor
) -> Tensor:
    """True labels of the first of the images, whose order is random, and responses to the others.

    With probabilities as responses, true labels are one-hot.
    """
    share = true_labels.share if true_labels is not None else 0.0
    if share and attack.crafts_queries:
        raise UserError(
            f"true_share: expected 0 for {attack.name}, whose crafted images have no true label, got {share}; "
            "choose an attack that sends natural images alone"
        )
    n_true = min(round(len(images) * share), len(images) - 1)
    responses = victim.response.targets(victim(images[n_true:]))
    if true_labels is None or n_true == 0:
        return responses
    true = true_labels.labels[index[:n_true]]
    return torch.cat([true if responses.dim() == 1 else F.one_hot(true, responses.shape[1]).to(responses), responses])


def _per_round(n_synthetic: int, rounds: int) -> list[int]:
    if n_synthetic == 0 or rounds == 0:
        return []
    base, extra = divmod(n_synthetic, rounds)
    return [size for i in range(rounds) if (size := base + (i < extra)) > 0]


def _check_finite(what: str, trainer: Trainer, *tensors: Tensor) -> None:
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        raise DivergedError(
            f"substitute: its {what} are not finite after step {trainer.step} of {trainer.total_steps}; "
            "take another seed or a gentler recipe"
        )
