"""How much the exact sibling test of a kit catches, by images sent and by what it learns."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from uapfp_dist.errors import UserError
from uapfp_dist.fingerprints.sibling_points import EXACT_POINTS
from uapfp_dist.fingerprints.sibling_test import Players, SiblingTest, p_values, sibling_test
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.method_configs import SiblingTestConfig
from uapfp_dist.verification.enrollment.exact_fitting import claimed_by_rank, read_exact, rotated_power
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan
from uapfp_dist.verification.kit.info import Accused


@dataclass(frozen=True)
class ExactPower:
    """Of one kit, by one number of images."""

    seed: int
    siblings: int
    n_points: int
    """Images of each player."""
    images: int
    """In all, each once."""
    stolen_each: int
    """Models stolen from each player, from which it learned; 0: unweighted."""
    power: Accused
    """Held-out models stolen from the victim that are claimed at alpha."""
    rotated: Accused | None
    """Models stolen from any player, with that player in the victim's place; what was learned left their theft out."""
    first: Accused | None = None
    """Of the held-out ones, those for which no sibling is as high as the victim: p = 1 / (1 + siblings)."""


def exact_power(plan: EnrollmentPlan, store: Store) -> Iterator[ExactPower]:
    """Unweighted and, where models were stolen from every player, learned; by every number of images that the pool has.

    Args:
        plan: of an enrolment with an exact test whose models and labels are in the store.
        store: of its artifacts.
    """
    found = read_exact(plan.exact, plan.requirements, store)
    if found is None:
        return
    learned = found.players
    unweighted = replace(learned, stolen=learned.stolen[:, :0])
    alpha = plan.requirements.alpha
    for players in (unweighted, learned)[: 2 if learned.stolen.shape[1] else 1]:
        for n in EXACT_POINTS:
            config = SiblingTestConfig(n_points=n, per_image=plan.config.churn.per_image)
            try:
                test = sibling_test(players, config)
            except UserError:  # the pool has no more
                break
            p, least = p_values(test.statistics(found.measured)), 1 / len(players.labels)
            yield ExactPower(
                plan.seed,
                len(players.labels) - 1,
                n,
                len(test.images),
                players.stolen.shape[1],
                Accused(int((p <= alpha + 1e-12).sum()), len(p)),
                _rotated(players, learned, test, config, alpha),
                Accused(int((p <= least + 1e-12).sum()), len(p)),
            )


def _rotated(
    players: Players, learned: Players, test: SiblingTest, config: SiblingTestConfig, alpha: float
) -> Accused | None:
    """Of models that nothing was learned from, all thefts at once."""
    if players.stolen.shape[1]:
        return rotated_power(players, config, alpha)
    n_players, n_thefts = learned.stolen.shape[:2]
    if not n_thefts:
        return None
    claimed = sum(claimed_by_rank(test, i, learned.stolen[i], alpha) for i in range(n_players))
    return Accused(claimed, n_players * n_thefts)
