"""Does an encoder trained on one data set judge the models of another? (the paper's supplement)

    python jobs/transfer.py --source fashion_mnist-small --target digits --n-points 100 --data-root DATA

Both evaluations must lie finished in the storage, with the same number of points and classes:

    python jobs/full_eval.py --preset digits --fingerprint.n-points 100
"""

import sys
from dataclasses import dataclass, field, replace
from typing import Annotated

import torch
import tyro

from uapfp_dist.central.evaluator import Evaluator
from uapfp_dist.command import main
from uapfp_dist.config.presets import preset
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.config.schema import Config
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.judging import Group, by_id, groups_among
from uapfp_dist.evaluation.plan import Plan, make_plan
from uapfp_dist.execution.stored import stored_specs
from uapfp_dist.fingerprints.blocks import PAPER
from uapfp_dist.fingerprints.methods.base import Candidate
from uapfp_dist.fingerprints.methods.encoder_method import transfer_scores
from uapfp_dist.fingerprints.resamples import make_resample
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.launch.images import load_images
from uapfp_dist.launch.report_file import check_report, write_report
from uapfp_dist.reporting.number_format import interval
from uapfp_dist.response_format import PROBABILITIES
from uapfp_dist.rng import numpy_rng
from uapfp_dist.statistics.auc import Estimate, Sides, auc_over_resamples
from uapfp_dist.storage.store import Store
from uapfp_dist.tracking.tracker import NullTracker


@dataclass(frozen=True)
class Transfer:
    """Score one evaluation's models with another one's encoders."""

    source: str = "fashion_mnist-small"
    """Preset whose models the encoder learns from."""
    target: str = "digits"
    """Preset whose models are judged."""
    source_seed: int = 0
    """Seed of the source evaluation."""
    target_seed: int = 0
    """Seed of the target evaluation."""
    n_points: int | None = None
    """Points per fingerprint, for both; None: as in the presets."""
    runtime: Annotated[RuntimeConfig, tyro.conf.arg(name="")] = field(default_factory=RuntimeConfig)


@dataclass(frozen=True)
class Side:
    """A finished evaluation."""

    plan: Plan
    matrix: ResponseMatrix
    pool: int | None
    """Only the first so many models of each type may train; None: all."""


def side(name: str, seed: int, chosen: Transfer) -> Side:
    """Read an evaluation's responses.

    Raises:
        UserError: it is not finished.
    """
    paths = resolve(chosen.runtime)
    config: Config = preset(name)
    if chosen.n_points is not None:
        config = replace(config, fingerprint=replace(config.fingerprint, n_points=chosen.n_points))
    plan = make_plan(config, seed, load_images(config.data, paths))
    store = Store(paths.storage)
    stored = stored_specs(store)
    missing = sum(not stored(plan.response(member)) for member in plan.judged)
    if missing > len(plan.judged) // 10:
        points = f" --fingerprint.n-points {chosen.n_points}" if chosen.n_points else ""
        raise UserError(
            f"{name}: expected a finished evaluation in {paths.storage}, {missing} of {len(plan.judged)} models have "
            f"not answered; run full_eval.py --preset {name} --seed {seed}{points} --storage {paths.storage}"
        )
    matrix = Evaluator(plan, store, NullTracker()).matrix()[0]
    return Side(plan, matrix, plan.pool_of(matrix.members))


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
    return {
        variant: {group: auc_over_resamples(sides, numpy_rng("bootstrap", group)) for group, sides in groups.items()}
        for variant, groups in tested.items()
    }


def job() -> None:
    """Parse, read both evaluations, compare."""
    chosen = tyro.cli(Transfer, args=sys.argv[1:], description=__doc__)
    torch.set_num_threads(1)
    report = resolve(chosen.runtime).report
    check_report(report)
    source, target = side(chosen.source, chosen.source_seed, chosen), side(chosen.target, chosen.target_seed, chosen)
    found = areas(source, target)
    print(
        f"one UAP of the paper's norm, probabilities; models of {chosen.target}, AUC of piracy against each group, mean"
    )
    print(f"over {source.plan.config.verdict.n_resamples} resamples with 95 % bootstrap intervals over models:")
    print(f"{'encoder trained on':<28}" + "".join(f"{group:>22}" for group in found["own"]))
    for variant, name in (("own", chosen.target), ("transferred", chosen.source)):
        cells = (interval(e.mean, e.low, e.high) for e in found[variant].values())
        print(f"{name:<28}" + "".join(f"{cell:>22}" for cell in cells))
    write_report(report, found)


if __name__ == "__main__":
    main(job)
