"""An encoder of one evaluation on the models of another (the paper's supplement)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from uapfp_dist.evaluation.judging import Group, by_id, groups_among, victims_of
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.fingerprints.blocks import PAPER
from uapfp_dist.fingerprints.methods.base import Candidate
from uapfp_dist.fingerprints.methods.encoder_method import transfer_scores
from uapfp_dist.fingerprints.resamples import make_resample
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.response_format import PROBABILITIES
from uapfp_dist.rng import numpy_rng
from uapfp_dist.statistics.auc import Estimate, Sides, auc_over_resamples


@dataclass(frozen=True)
class Side:
    """A finished evaluation."""

    plan: Plan
    matrix: ResponseMatrix
    pool: int | None
    """Only the first so many models of each type may train; None: all."""
    missing: Mapping[str, int] = field(default_factory=dict)
    """Role to the number of its models that have not answered, and are in no number."""


def areas(source: Side, target: Side) -> dict[str, dict[Group, Estimate]]:
    """AUC over resamples on the target's models: `own` by its own encoders, `transferred` by the source's.

    The source's encoders saw none of the target's models.
    """
    verdict, encoder = source.plan.config.verdict, source.plan.config.encoder
    candidate, members = Candidate((PAPER,), PROBABILITIES), target.matrix.members
    sizes = (verdict.n_train, verdict.n_calibrate)
    groups = groups_among(members)
    tested: dict[str, dict[Group, list[Sides]]] = {}
    for i in range(verdict.n_resamples):
        theirs, own = (
            make_resample(s.matrix.members, i, *sizes, str(s.plan.seed), train_pool=s.pool) for s in (source, target)
        )
        variants = {"transferred": (source, theirs.training), "own": (target, own.training)}
        for variant, (side_, training) in variants.items():
            scores = transfer_scores(side_.matrix, training, target.matrix, candidate, encoder, f"transfer/{i}").mean(1)
            # The same test models for both, so that the difference is the encoder's.
            by_role = {
                role: by_id(own.tested(members, role), scores.tolist(), members)
                for role in ("piracy", *groups.values())
            }
            for group, role in groups.items():
                tested.setdefault(variant, {}).setdefault(group, []).append((by_role["piracy"], by_role[role]))
    victims = victims_of(members)
    return {
        variant: {
            group: auc_over_resamples(sides, numpy_rng("bootstrap", group), victims=victims)
            for group, sides in groups.items()
        }
        for variant, groups in tested.items()
    }
