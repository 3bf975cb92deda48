"""The exact sibling test of a kit, from what its players and the models stolen from them say to the pool."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.execution.pool_artifacts import read_pool, read_pool_labels
from uapfp_dist.fingerprints.pool import Pool, PoolLabels
from uapfp_dist.fingerprints.sibling_test import Players, SiblingTest, p_values, rank_images, sibling_test
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.method_configs import SiblingTestConfig
from uapfp_dist.tasks.specs import ModelSpec
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.exact_plan import FEWEST_INDEPENDENT, ExactPlan
from uapfp_dist.verification.enrollment.owner_siblings import weights_digest
from uapfp_dist.verification.kit.info import Accused, KitExact


@dataclass(frozen=True)
class EnrolledExact:
    """What could be made of an `ExactPlan`."""

    pool: Pool
    players: Players
    measured_stolen: Tensor
    """(K, N) int64: what held-out stolen models say."""
    measured_independent: Tensor
    """(M, N) int64: what held-out models say that are derived from no player."""
    digests: tuple[str, ...]
    """SHA-256 of the weights of each sibling."""


def read_exact(plan: ExactPlan | None, requirements: EnrollConfig, store: Store) -> EnrolledExact | None:
    """None where the plan has none.

    Raises:
        UserError: the victim or too many siblings could not be made.
    """
    if plan is None:
        return None
    n = requirements.n_exact_siblings
    made = [i for i, player in enumerate(plan.players) if _made(plan, player, store)][: n + 1]
    if len(made) <= n or made[0] != 0:
        raise UserError(
            f"exact: expected the victim and {n} siblings at their gate, {len(made)} of these models could be made; "
            "lower the gate of the siblings",
            argument="exact",
        )
    found = [_labels(plan, plan.players[i], store) for i in made]
    # A theft that failed from one player is left out for all: what is learned must be alike.
    slots = [t for t in range(len(plan.stolen[0])) if all(_made(plan, plan.stolen[i][t], store) for i in made)]
    stolen = [[_labels(plan, plan.stolen[i][t], store).labels for t in slots] for i in made]
    pool = read_pool(store.get(*plan.pool.artifact))
    measured_stolen, independent, measured_independent = (
        [_labels(plan, model, store).labels for model in models if _made(plan, model, store)]
        for models in (plan.measured_stolen, plan.independent, plan.measured_independent)
    )
    nothing = torch.zeros(0, len(pool.base), dtype=torch.int64)
    players = Players(
        labels=torch.stack([one.labels for one in found]),
        margins=torch.stack([one.margins for one in found]),
        stolen=torch.stack([torch.stack(row) if row else nothing for row in stolen]),
        base=pool.base,
        independent=torch.stack(independent) if len(independent) >= FEWEST_INDEPENDENT else None,
    )
    siblings = [plan.players[i] for i in made[1:]]
    digests = tuple(weights_digest(store.get(*spec.artifact).tensors) for spec in siblings)
    return EnrolledExact(
        pool,
        players,
        torch.stack(measured_stolen) if measured_stolen else nothing,
        torch.stack(measured_independent) if measured_independent else nothing,
        digests,
    )


def _made(plan: ExactPlan, model: ModelSpec, store: Store) -> bool:
    spec = plan.labels(model)
    return store.intact(*spec.artifact)


def _labels(plan: ExactPlan, model: ModelSpec, store: Store) -> PoolLabels:
    spec = plan.labels(model)
    return read_pool_labels(store.get(*spec.artifact))


def fit_exact(found: EnrolledExact, requirements: EnrollConfig, per_image: int) -> tuple[SiblingTest, KitExact]:
    """The test, and what the kit says of it: how many of the victim's held-out stolen models it catches.

    Raises:
        UserError: two players say the same to all images, or the pool is too small.
    """
    config = SiblingTestConfig(n_points=requirements.n_exact_points, per_image=per_image)
    test = sibling_test(found.players, config)
    level = requirements.corrected_alpha
    rotated = rotated_power(found.players, [config], level)
    caught = claimed_by_rank(test, 0, found.measured_stolen, level)
    n_siblings = len(found.players.labels) - 1
    return test, KitExact(
        claims=requirements.exact == "claims",
        siblings=n_siblings,
        stolen_each=found.players.stolen.shape[1],
        images=len(test.images),
        pool_size=len(found.pool.base),
        weights_sha256=found.digests,
        power=Accused(caught, len(found.measured_stolen)) if len(found.measured_stolen) else None,
        rotated=rotated[0] if rotated else None,
        accused=Accused(claimed_by_rank(test, 0, found.measured_independent, level), len(found.measured_independent))
        if len(found.measured_independent)
        else None,
    )


def rotated_power(players: Players, configs: Sequence[SiblingTestConfig], alpha: float) -> list[Accused]:
    """Stolen models claimed at `alpha` where each player in turn is the victim; nothing without two thefts.

    Each theft is left out once for all players, and the models that came of it are judged by what the others taught.

    Args:
        players: with T thefts each.
        configs: that differ in the number of images alone.
        alpha: largest p-value that claims.

    Returns:
        for each config.
    """
    n_players, n_thefts = players.stolen.shape[:2]
    if n_thefts < 2:
        return []
    claimed = [0] * len(configs)
    for theft in range(n_thefts):
        others = [t for t in range(n_thefts) if t != theft]
        taught = replace(players, stolen=players.stolen[:, others])
        ranked = rank_images(taught, configs[0])
        for k, config in enumerate(configs):
            test = sibling_test(taught, config, ranked)
            stolen = players.stolen[:, theft]
            claimed[k] += sum(claimed_by_rank(test, i, stolen[i : i + 1], alpha) for i in range(n_players))
    return [Accused(n, n_players * n_thefts) for n in claimed]


def claimed_by_rank(test: SiblingTest, victim: int, suspects: Tensor, alpha: float) -> int:
    """How many of (K, N) suspects are claimed where that player is the victim."""
    statistics = test.statistics(suspects)
    order = [victim, *(i for i in range(statistics.shape[1]) if i != victim)]
    return int((p_values(statistics[:, order]) <= alpha + 1e-12).sum())


def exact_limits(info: KitExact, n_corrected: int) -> Sequence[str]:
    """What the kit says of its exact test, whose p is corrected for `n_corrected` suspects, in plain sentences."""
    learned = f", with {info.stolen_each} models stolen from each" if info.stolen_each else ""
    own = ""
    if info.accused is not None:
        own = (
            f" For this one it claims {info.accused.n} of {info.accused.of} independent models from which it learned "
            f"nothing{f', each corrected for {n_corrected} suspects' if n_corrected > 1 else ''}."
        )
    claims = (
        "The exact test makes the claim; the conformal p-value is shown without one."
        if info.claims
        else "The conformal test makes the claim; the p-value of the exact test, if it is asked, is shown without one."
    )
    return (
        f"The exact test ranks the victim among {info.siblings} of its siblings{learned}. It assumes nothing of the "
        "suspect, only that any sibling could have been the victim; a sibling that leaked or was stolen from makes it "
        "miss more, not accuse more.",
        "The exact test errs at its rate over victims: for one victim its errors hang together over suspects." + own,
        claims,
    )
