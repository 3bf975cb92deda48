"""One preset over several seeds: means of its numbers, with standard errors over seeds.

    uapfp seeds --preset digits-large --seeds 0 1 2 3 4 --out over_seeds

Every seed is a whole evaluation (its own splits, victim and zoo). Finished seeds are not run again.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from uapfp_dist.cli.evaluate import print_report
from uapfp_dist.cli.parser.command import Command
from uapfp_dist.config.methods import DEFAULT, with_methods
from uapfp_dist.config.presets import preset
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.launch.seeds import run_seeds


@dataclass(frozen=True)
class Seeds:
    """Evaluate a preset under several seeds and sum up."""

    preset: str = "digits"
    """What to evaluate, as in uapfp evaluate."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds to run."""
    methods: tuple[str, ...] = (DEFAULT,)
    """Fingerprint methods to compare: default, all, or names, as in uapfp evaluate."""
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """Precision of training, as in uapfp evaluate."""
    out: Path = Path("over_seeds")
    """Folder for <preset>-<seed>.json, <preset>.md and <preset>.png."""
    runtime: Annotated[RuntimeConfig, tyro.conf.arg(name="")] = field(default_factory=RuntimeConfig)


def seeds(chosen: Seeds) -> None:
    """Run every seed, print one table."""
    config = replace(preset(chosen.preset), precision=chosen.precision)
    print(
        run_seeds(
            with_methods(config, chosen.preset, chosen.methods),
            chosen.preset,
            chosen.seeds,
            chosen.out,
            chosen.runtime,
            lambda report: print_report(report, chosen.runtime),
        )
    )


COMMAND = Command(
    Seeds,
    seeds,
    __doc__,
    ("preset", "seeds", "methods", "precision", "out", "data-root", "storage", "workers", "address", "mlflow-uri"),
    unused=("report",),  # out has one of every seed
)
