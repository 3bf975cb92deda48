"""Does an encoder that learnt on one data set judge the models of another? (the paper's supplement)

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
from uapfp_dist.data import load
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.judging import GROUPS, by_id
from uapfp_dist.evaluation.plan import Plan, make_plan
from uapfp_dist.execution.stored import stored_specs
from uapfp_dist.fingerprints.blocks import PAPER
from uapfp_dist.fingerprints.methods.base import Candidate
from uapfp_dist.fingerprints.methods.encoder_method import transfer_scores
from uapfp_dist.fingerprints.resamples import make_resample
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.launch.report_file import check_report, write_report
from uapfp_dist.reporting.number_format import interval
from uapfp_dist.response_format import PROBABILITIES
from uapfp_dist.rng import numpy_rng
from uapfp_dist.serialization import to_json
from uapfp_dist.statistics.auc import Estimate, auc_over_resamples
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
    surroundings: Annotated[RuntimeConfig, tyro.conf.arg(name="")] = field(default_factory=RuntimeConfig)


@dataclass(frozen=True)
class Side:
    """A finished evaluation."""

    plan: Plan
    panel: ResponseMatrix
    pool: int | None
    """Only the first so many models of each type may train."""


def side(name: str, seed: int, chosen: Transfer) -> Side:
    """Read an evaluation's answers.

    Raises:
        UserError: it is not finished.
    """
    places = resolve(chosen.surroundings)
    config: Config = preset(name)
    if chosen.n_points is not None:
        config = replace(config, fingerprint=replace(config.fingerprint, n_points=chosen.n_points))
    plan = make_plan(config, seed, load(config.data.name, places.data_root, config.data.n_classes))
    store = Store(places.storage)
    stored = stored_specs(store)
    missing = sum(not stored(plan.response(member)) for member in plan.judged)
    if missing > len(plan.judged) // 10:
        points = f" --fingerprint.n-points {chosen.n_points}" if chosen.n_points else ""
        raise UserError(
            f"{name}: expected a finished evaluation in {places.storage}, {missing} of {len(plan.judged)} models have "
            f"not answered; run full_eval.py --preset {name} --seed {seed}{points} --storage {places.storage}"
        )
    arbiter = Evaluator(plan, store, NullTracker())
    panel = arbiter.panel()[0]
    return Side(plan, panel, plan.pool_of(panel.members))


def areas(source: Side, target: Side) -> dict[str, dict[str, Estimate]]:
    """AUC over draws on the target's models: by its own encoders, and by the source's, which saw none of them."""
    verdict, encoder = source.plan.config.verdict, source.plan.config.encoder
    candidate, members = Candidate((PAPER,), PROBABILITIES), target.panel.members
    tested: dict[str, dict[str, list[tuple[dict[str, float], dict[str, float]]]]] = {}
    for i in range(verdict.n_resamples):
        sizes = (verdict.n_train, verdict.n_calibrate)
        draws = [
            make_resample(s.panel.members, i, *sizes, str(s.plan.seed), train_pool=s.pool) for s in (source, target)
        ]
        ways = {"transferred": (source, draws[0].training), "own": (target, draws[1].training)}
        for way, (teacher, training) in ways.items():
            scores = transfer_scores(teacher.panel, training, target.panel, candidate, encoder, f"transfer/{i}").mean(1)
            # The same test models for both, so that the difference is the encoder's.
            by_role = {
                role: by_id(draws[1].tested(members, role), scores.tolist(), members)
                for role in ("piracy", *GROUPS.values())
            }
            for group, role in GROUPS.items():
                tested.setdefault(way, {}).setdefault(group, []).append((by_role["piracy"], by_role[role]))
    return {
        way: {group: auc_over_resamples(sides, numpy_rng("bootstrap", group)) for group, sides in groups.items()}
        for way, groups in tested.items()
    }


def job() -> None:
    """Parse, read both evaluations, compare."""
    chosen = tyro.cli(Transfer, args=sys.argv[1:], description=__doc__)
    torch.set_num_threads(1)
    report = resolve(chosen.surroundings).report
    check_report(report)
    source, target = side(chosen.source, chosen.source_seed, chosen), side(chosen.target, chosen.target_seed, chosen)
    found = areas(source, target)
    print(
        f"one UAP of the paper's norm, probabilities; models of {chosen.target}, AUC of piracy against each group, mean"
    )
    print(f"over {source.plan.config.verdict.n_resamples} draws with 95 % bootstrap intervals over models:")
    print(f"{'encoder learnt on':<28}" + "".join(f"{group:>22}" for group in GROUPS))
    for way, name in (("own", chosen.target), ("transferred", chosen.source)):
        cells = (interval(e.mean, e.low, e.high) for e in (found[way][group] for group in GROUPS))
        print(f"{name:<28}" + "".join(f"{cell:>22}" for cell in cells))
    write_report(report, to_json(found))


if __name__ == "__main__":
    main(job)
