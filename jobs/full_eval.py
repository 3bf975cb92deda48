"""The main job: train a zoo, extract models, fingerprint them all, judge every suspect, show the results in MLflow.

    python jobs/full_eval.py                                   # embedded digits, about two minutes on a laptop
    python jobs/full_eval.py --preset fashion_mnist-small --data-root DATA
    ray job submit --working-dir . -- python jobs/full_eval.py --preset digits-large --storage /shared/results

Every field of the configuration is an option: --zoo.n-piracy 20. Running the same command again resumes.
"""

import sys
from dataclasses import dataclass, field, replace
from typing import Annotated

import tyro

from uapfp_dist.command import main
from uapfp_dist.config.command_line import parse_with_preset
from uapfp_dist.config.methods import DEFAULT, with_methods
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.config.schema import Config
from uapfp_dist.launch.ablation import run_grid
from uapfp_dist.launch.evaluation import run


@dataclass(frozen=True)
class FullEval:
    """Evaluate UAP fingerprinting end to end."""

    preset: str = "digits"
    """Defaults of the configuration: digits, digits-large; fashion_mnist, cifar10 or tiny_imagenet at the paper's
    scale; fashion_mnist-small, cifar10-small or tiny_imagenet-small."""
    seed: int = 0
    """Of all random choices."""
    methods: tuple[str, ...] = (DEFAULT,)
    """Fingerprint methods to compare: default (ten for digits, all for the others), all, or names."""
    ablations: bool = False
    """Also the grid of Figure 6 left, n_points by top_k; jobs/ablations.py runs any other."""
    runtime: Annotated[RuntimeConfig, tyro.conf.arg(name="")] = field(default_factory=RuntimeConfig)
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


def parse(arguments: list[str]) -> FullEval:
    """The command line; the preset gives the defaults of every other field."""
    return parse_with_preset(FullEval, arguments, __doc__)


def job() -> None:
    """Parse and run."""
    chosen = parse(sys.argv[1:])
    config = with_methods(chosen.config, chosen.preset, chosen.methods)
    run(config, chosen.preset, chosen.seed, chosen.runtime)
    if chosen.ablations:
        runtime = replace(chosen.runtime, report=None)  # that file holds the evaluation's
        run_grid(chosen.config, chosen.preset, chosen.seed, runtime, ())


if __name__ == "__main__":
    main(job)
