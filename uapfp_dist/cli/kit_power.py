"""How often does a kit accuse models that are not stolen, and how often catch stolen ones?

    uapfp kit-power --preset digits --seeds 0 1 2 3 4 5 6 7 8 9 --out false_accusations
    uapfp kit-power --preset fashion_mnist-small --data-root DATA --seeds 0 --max-queries 100
    uapfp kit-power --seeds 0 1 --zoo.victim-architecture D     # any field of the configuration

Every seed is an enrolment of its own: data, victim, stolen models, negatives, calibration. Suspects
are the models that neither trained nor calibrated the kit, each judged alone. Models of one zoo
depend on each other: the intervals resample zoos. Finished seeds are not run again.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from uapfp_dist.cli.parser.command import Command
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.config.schema import Config
from uapfp_dist.launch.kit_power import measure_kits
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.derived_config import (
    EVALUATION_ALONE,
    SET_BY_REQUIREMENTS,
    check_no_unused_field,
    enroll_preset,
)


@dataclass(frozen=True)
class KitPower:
    """Enroll a preset under several seeds and count."""

    preset: str = "digits"
    """Preset that all options start from, as in uapfp enroll."""
    seeds: tuple[int, ...] = tuple(range(10))
    """Seeds, each of an independent zoo."""
    out: Path = Path("false_accusations")
    """Folder for <preset>-<seed> (kits) and <preset>.md."""
    max_queries: int | None = None
    """Images to judge by, at most (default: all)."""
    requirements: Annotated[EnrollConfig, tyro.conf.arg(name="")] = field(
        default_factory=lambda: EnrollConfig(n_test=10)
    )
    runtime: Annotated[RuntimeConfig, tyro.conf.arg(name="")] = field(default_factory=RuntimeConfig)
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


def kit_power(chosen: KitPower) -> None:
    """Enroll every seed, count, print one table."""
    check_no_unused_field(chosen.config, enroll_preset(chosen.preset), chosen.requirements)
    print(
        measure_kits(
            chosen.preset,
            chosen.config,
            chosen.seeds,
            chosen.out,
            chosen.requirements,
            chosen.max_queries,
            chosen.runtime,
        )
    )


COMMAND = Command(
    KitPower,
    kit_power,
    __doc__,
    ("preset", "seeds", "out", "max-queries", "n-test", "alpha", "data-root", "storage", "workers"),
    enroll_preset,
    unused=("report", *SET_BY_REQUIREMENTS, *EVALUATION_ALONE),
)
