"""How much of the training must siblings repeat? Churn against that share, over seeds.

    uapfp sibling-cost --preset digits --seeds 1000 1001 --out siblings
    uapfp sibling-cost --preset fashion_mnist-small --data-root DATA --shares .1 .25 .5 1

A sibling of share .25 continues a checkpoint of the victim's run at .75 of its steps with a seed of
its own; so does the victim. Or all start from a backbone. It reports churn points, stolen models
caught, the AUC against models stolen from siblings, and the cost; and resumes.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from uapfp_dist.cli.parser.command import Command
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.evaluation.sibling_study import SiblingCounts
from uapfp_dist.launch.sibling_cost import measure_siblings


@dataclass(frozen=True)
class SiblingCost:
    """Train victims and siblings from common starts, steal from both, compare."""

    preset: str = "digits"
    """Preset that all options start from, as in uapfp enroll."""
    seeds: tuple[int, ...] = (0, 1)
    """Seeds, each of a victim for every share."""
    shares: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0)
    """Shares of the training that siblings repeat from a checkpoint; 1: all of it."""
    backbone_shares: tuple[float, ...] = (0.1, 0.25)
    """Shares of the steps of a whole training that they make from a backbone."""
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """Precision of training."""
    out: Path = Path("siblings")
    """Folder for <preset>-siblings.json, .md, .png."""
    counts: Annotated[SiblingCounts, tyro.conf.arg(name="")] = field(default_factory=SiblingCounts)
    runtime: Annotated[RuntimeConfig, tyro.conf.arg(name="")] = field(default_factory=RuntimeConfig)


def sibling_cost(chosen: SiblingCost) -> None:
    """Train, steal, compare, print the table."""
    print(
        measure_siblings(
            chosen.preset,
            chosen.seeds,
            chosen.shares,
            chosen.backbone_shares,
            chosen.precision,
            chosen.counts,
            chosen.runtime,
            chosen.out,
        )
    )


COMMAND = Command(
    SiblingCost,
    sibling_cost,
    __doc__,
    ("preset", "seeds", "shares", "backbone-shares", "out", "n-stolen", "data-root", "storage"),
    unused=("mlflow_uri", "mlflow_experiment", "report"),
)
