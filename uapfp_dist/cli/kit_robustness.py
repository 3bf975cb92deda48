"""Which stolen models does a kit still catch when they are modified, and does it accuse others?

    uapfp kit-robustness --preset digits --seed 1 --out modified
    uapfp kit-robustness --preset fashion_mnist-small --data-root DATA --precision auto

It enrolls the preset's victim and judges held-out models, stolen and independent, by their labels:
modified; after removal attacks (noisy or smooth labels, PGD, fresh images, guessed churn, two in a
row); stolen from a stolen model or with true labels mixed in; of unseen kinds of nets; served with
changed queries or responses. It resumes.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from uapfp_dist.cli.parser.command import Command
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.config.schema import Config
from uapfp_dist.launch.kit_robustness import measure_robustness, robustness_preset
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.derived_config import SET_BY_REQUIREMENTS, check_no_unused_field
from uapfp_dist.verification.robustness.members import SET_BY_COUNTS, Counts


@dataclass(frozen=True)
class KitRobustness:
    """Enroll a victim, modify held-out models, judge them."""

    preset: str = "digits"
    """Preset that all options start from, as in uapfp enroll."""
    seed: int = 0
    """Seed of all random choices."""
    out: Path = Path("modified")
    """Folder for the kit, suspects.json, .md, removal.png."""
    counts: Annotated[Counts, tyro.conf.arg(name="")] = field(default_factory=Counts)
    requirements: Annotated[EnrollConfig, tyro.conf.arg(name="")] = field(default_factory=EnrollConfig)
    runtime: Annotated[RuntimeConfig, tyro.conf.arg(name="")] = field(default_factory=RuntimeConfig)
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


def kit_robustness(chosen: KitRobustness) -> None:
    """Enroll, modify, judge, print the table."""
    check_no_unused_field(chosen.config, robustness_preset(chosen.preset), chosen.requirements)
    print(
        measure_robustness(
            chosen.preset,
            chosen.config,
            chosen.seed,
            chosen.counts,
            chosen.requirements,
            chosen.runtime,
            chosen.out,
        )
    )


COMMAND = Command(
    KitRobustness,
    kit_robustness,
    __doc__,
    ("preset", "seed", "out", "n-stolen", "n-negatives", "n-adversarial", "data-root", "storage"),
    robustness_preset,
    unused=("report", "studies", *SET_BY_COUNTS, *SET_BY_REQUIREMENTS),
)
