"""Ablations: the grid of Figure 6 left, or any other, on the stored responses of an evaluation.

    python jobs/ablations.py                                             # Figure 6 left: n_points by top_k
    python jobs/ablations.py --grid n_points=10,30,60 --grid top_k=1,3,10
    python jobs/ablations.py --preset fashion_mnist-small --grid encoder.tau=0.1,0.2,0.5 --grid verdict.n_train=3,5
    ray job submit --working-dir . -- python jobs/ablations.py --grid zoo.overlap=0,0.5,1 --storage /shared/results

Plain names need only stored responses: n_points, top_k (0: the label), n_views, xi, loss, recovery, architecture (of
the models that train the encoder). Dotted names are fields of the configuration; the models and responses that they
need are made first, once. Values of a field that holds several are joined by +: zoo.architectures=B+C,D+E. Running the
same command again resumes.
"""

import sys
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from uapfp_dist.command import main
from uapfp_dist.config.command_line import parse_with_preset
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.config.schema import Config
from uapfp_dist.launch.ablation import run_grid


@dataclass(frozen=True)
class Ablations:
    """Vary an evaluation over a grid."""

    preset: str = "digits"
    """The evaluation to vary, as in full_eval.py."""
    seed: int = 0
    """Its seed."""
    grid: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """An axis, name=value,value; repeat it for more axes (default: n_points by top_k)."""
    runtime: Annotated[RuntimeConfig, tyro.conf.arg(name="")] = field(default_factory=RuntimeConfig)
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


def parse(arguments: list[str]) -> Ablations:
    """The command line; the preset gives the defaults of every other field."""
    return parse_with_preset(Ablations, arguments, __doc__)


def job() -> None:
    """Parse and run."""
    chosen = parse(sys.argv[1:])
    run_grid(chosen.config, chosen.preset, chosen.seed, chosen.runtime, chosen.grid)


if __name__ == "__main__":
    main(job)
