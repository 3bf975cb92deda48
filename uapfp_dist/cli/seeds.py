"""One preset over several seeds: means of its numbers, with errors that count seeds, not models.

    uapfp seeds --preset digits-large --seeds 0 1 2 3 4 --out over_seeds

Every seed is a whole evaluation (its own splits, victim and zoo). Finished seeds are not run again.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from uapfp_dist.cli.evaluate import print_report
from uapfp_dist.cli.parser.command import Command
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.launch.seeds import run_seeds


@dataclass(frozen=True)
class Seeds:
    """Evaluate a preset under several seeds and sum up."""

    preset: str = "digits"
    """What to evaluate, as in uapfp evaluate."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds to run."""
    out: Path = Path("over_seeds")
    """Folder for <preset>-<seed>.json and <preset>.md."""
    runtime: Annotated[RuntimeConfig, tyro.conf.arg(name="")] = field(default_factory=RuntimeConfig)


def seeds(chosen: Seeds) -> None:
    """Run every seed, print one table."""
    print(
        run_seeds(
            chosen.preset, chosen.seeds, chosen.out, chosen.runtime, lambda report: print_report(report, chosen.runtime)
        )
    )


COMMAND = Command(
    Seeds, seeds, __doc__, ("preset", "seeds", "out", "data-root", "storage", "workers", "address", "mlflow-uri")
)
