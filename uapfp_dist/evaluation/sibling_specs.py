"""What compares a victim with its siblings, as specs."""

from collections.abc import Sequence

from uapfp_dist.config.schema import Config
from uapfp_dist.fingerprints.sibling_points import EXACT_POINTS
from uapfp_dist.fingerprints.sibling_test import siblings_needed
from uapfp_dist.tasks.churn_specs import ChurnSpec
from uapfp_dist.tasks.members import Member, Role, members_of
from uapfp_dist.tasks.method_configs import SiblingTestConfig
from uapfp_dist.tasks.pool_specs import PoolSpec, SiblingPointsSpec
from uapfp_dist.tasks.specs import DataSpec, ProbeSpec


def churn_spec(config: Config, seed: int, members: Sequence[Member], probe: ProbeSpec) -> ChurnSpec | None:
    """Churn points of the victim and its committee; None without siblings."""
    n = config.siblings.n_committee
    if n == 0:
        return None
    committee = tuple(m.spec for m in members_of(members, Role.SIBLING)[:n])
    moved_by = probe if config.churn.twins and config.uap.references else None
    return ChurnSpec(members[0].spec, committee, config.churn, seed, moved_by)


def exact_spec(config: Config, seed: int, members: Sequence[Member], data: DataSpec) -> SiblingPointsSpec | None:
    """The exact test: the victim and the first siblings, as few as can decide at alpha; None where it is not wanted."""
    if not config.siblings.exact:
        return None
    siblings = [m.spec for m in members_of(members, Role.SIBLING)][: siblings_needed(config.verdict.alpha)]
    test = SiblingTestConfig(n_points=EXACT_POINTS[-1], per_image=config.churn.per_image)
    return SiblingPointsSpec((members[0].spec, *siblings), PoolSpec(data, config.churn, seed), test)
