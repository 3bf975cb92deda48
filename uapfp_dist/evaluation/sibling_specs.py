"""What compares a victim with its siblings, as specs."""

import math
from collections.abc import Sequence
from dataclasses import replace

from uapfp_dist.config.schema import Config
from uapfp_dist.config.siblings import SiblingConfig
from uapfp_dist.fingerprints.sibling_points import EXACT_POINTS
from uapfp_dist.fingerprints.sibling_test import siblings_needed
from uapfp_dist.rng import numpy_rng
from uapfp_dist.tasks.churn_specs import ChurnSpec
from uapfp_dist.tasks.members import Member, Role, members_of
from uapfp_dist.tasks.method_configs import SiblingTestConfig
from uapfp_dist.tasks.pool_specs import PoolSpec, SiblingPointsSpec
from uapfp_dist.tasks.run_specs import Continued, TrainingCheckpointSpec
from uapfp_dist.tasks.specs import DataSpec, ModelSpec, ProbeSpec, Trained


def from_common_start(victim: ModelSpec, config: SiblingConfig, seed: int) -> ModelSpec:
    """The victim as it is trained where its siblings share its start: from there it is drawn as they are.

    Given the start, victim and siblings are exchangeable; the less of the training they repeat, the less they disagree.

    Args:
        victim: trained from random weights.
        config: of the siblings.
        seed: of the evaluation.
    """
    common = replace(victim, seed=int(numpy_rng("common start", seed).integers(2**31)))
    if config.backbone:
        others = replace(common, origin=Trained("homologous_set", 0.0))
        recipe = replace(victim.recipe, samples_seen=math.ceil(config.repeated * victim.recipe.samples_seen))
        return replace(victim, origin=Continued(others), recipe=recipe)
    if config.repeated < 1.0:
        return replace(victim, origin=Continued(TrainingCheckpointSpec(common, round(1.0 - config.repeated, 9))))
    return victim


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
