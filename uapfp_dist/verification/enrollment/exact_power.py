"""How much the exact sibling test of a kit catches, by images sent and by what it learns."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from uapfp_dist.fingerprints.sibling_points import EXACT_POINTS
from uapfp_dist.fingerprints.sibling_test import Players, SiblingTest, p_values, rank_images, sibling_test
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.method_configs import SiblingTestConfig
from uapfp_dist.verification.enrollment.exact_fitting import EnrolledExact, claimed_by_rank, read_exact, rotated_power
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan
from uapfp_dist.verification.kit.info import Accused

MANY = 0.2
"""Share of independent models beyond which a victim is unlucky: errors of one victim hang together."""


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
    """Held-out models stolen from the victim that are claimed, each as the first suspect."""
    rotated: Accused | None
    """Models stolen from any player, with that player in the victim's place; what was learned left their theft out."""
    first: Accused | None = None
    """Of the held-out ones, those for which no sibling is as high as the victim: p = 1 / (1 + siblings)."""
    accused: Accused | None = None
    """Held-out independent models that are claimed likewise."""
    unlucky: Accused | None = None
    """Players in whose place more than a fifth of those would be."""


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
    for players in (unweighted, learned)[: 2 if learned.stolen.shape[1] else 1]:
        yield from _by_images(plan, players, learned, found)


def _by_images(plan: EnrollmentPlan, players: Players, learned: Players, found: EnrolledExact) -> Iterator[ExactPower]:
    """By every number of images; `learned` has the stolen models, whether `players` learn from them or not."""
    alpha, wanted = plan.requirements.corrected_alpha, sorted({*EXACT_POINTS, plan.requirements.n_exact_points})
    configs = [SiblingTestConfig(n_points=n, per_image=plan.config.churn.per_image) for n in wanted]
    ranked = rank_images(players, configs[0])
    most = min(len(order) for order in ranked)
    configs = [config for config in configs if config.n_points <= most]  # the pool has no more
    tests = [sibling_test(players, config, ranked) for config in configs]
    if players.stolen.shape[1]:
        rotated = rotated_power(players, configs, alpha)
    else:
        rotated = [_all_thefts(test, learned, alpha) for test in tests] if learned.stolen.shape[1] else []
    for k, (config, test) in enumerate(zip(configs, tests, strict=True)):
        p, least = p_values(test.statistics(found.measured_stolen)), 1 / len(players.labels)
        accused = [claimed_by_rank(test, i, found.measured_independent, alpha) for i in range(len(players.labels))]
        n = len(found.measured_independent)
        yield ExactPower(
            plan.seed,
            len(players.labels) - 1,
            config.n_points,
            len(test.images),
            players.stolen.shape[1],
            Accused(int((p <= alpha + 1e-12).sum()), len(p)),
            rotated[k] if rotated else None,
            Accused(int((p <= least + 1e-12).sum()), len(p)),
            Accused(accused[0], n) if n else None,
            Accused(sum(k > MANY * n for k in accused), len(accused)) if n else None,
        )


def _all_thefts(test: SiblingTest, learned: Players, alpha: float) -> Accused:
    """Of models that nothing was learned from, all thefts at once."""
    n_players, n_thefts = learned.stolen.shape[:2]
    claimed = sum(claimed_by_rank(test, i, learned.stolen[i], alpha) for i in range(n_players))
    return Accused(claimed, n_players * n_thefts)
