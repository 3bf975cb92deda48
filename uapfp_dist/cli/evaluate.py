"""Train models, steal some, fingerprint them all, judge every suspect; MLflow shows the results.

    uapfp evaluate                               # embedded digits, about two minutes on a laptop
    uapfp evaluate --preset fashion_mnist-small --data-root DATA --zoo.n-piracy 20
    ray job submit --working-dir . -- python jobs/full_eval.py --storage /shared/results

Every field of the configuration is an option. Running the same command again resumes.
"""

from dataclasses import dataclass, field, replace
from typing import Annotated

import tyro

from uapfp_dist.cli.ablate import print_grid
from uapfp_dist.cli.mlflow_hint import mlflow_hint
from uapfp_dist.cli.parser.command import CONFIG_OPTIONS, Command
from uapfp_dist.config.methods import DEFAULT, with_methods
from uapfp_dist.config.presets import preset
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.config.schema import Config
from uapfp_dist.launch.ablation import run_grid
from uapfp_dist.launch.evaluation import run
from uapfp_dist.reporting.report_schema import EvaluationReport
from uapfp_dist.reporting.summary import summary


@dataclass(frozen=True)
class Evaluate:
    """Evaluate UAP fingerprinting end to end."""

    preset: str = "digits"
    """Preset that all options start from: digits, digits-large, fashion_mnist-small, cifar10-small,
    tiny_imagenet-small; or, at the paper's scale, fashion_mnist, cifar10, tiny_imagenet."""
    seed: int = 0
    """Seed of all random choices."""
    methods: tuple[str, ...] = (DEFAULT,)
    """Methods to compare: default (eight for digits, else all), all, or names."""
    ablations: bool = False
    """Also the grid of Figure 6 left, n_points by top_k; uapfp ablate runs any other."""
    runtime: Annotated[RuntimeConfig, tyro.conf.arg(name="")] = field(default_factory=RuntimeConfig)
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


def evaluate(chosen: Evaluate) -> None:
    """Run, print the result."""
    config = with_methods(chosen.config, chosen.preset, chosen.methods)
    print_report(run(config, chosen.preset, chosen.seed, chosen.runtime), chosen.runtime)
    if chosen.ablations:
        runtime = replace(chosen.runtime, report=None)  # that file holds the evaluation's
        print_grid(run_grid(chosen.config, chosen.preset, chosen.seed, runtime, ()), runtime)


def print_report(report: EvaluationReport, runtime: RuntimeConfig) -> None:
    """A short table, where the report lies, how to open the page."""
    paths, models = resolve(runtime), report.models
    assert models is not None
    print(f"\n{summary(report)}\n")
    print(
        f"{models.trained} models trained, {models.reused} reused, {models.failed} failed; "
        f"made in {report.wall_seconds:.0f} s. Artifacts: {paths.storage}"
    )
    if paths.report is not None:
        print(f"Report: {paths.report}")
    print(mlflow_hint(runtime, "Tables, figures and report.html"), flush=True)


COMMAND = Command(
    Evaluate,
    evaluate,
    __doc__,
    ("preset", "seed", "methods", "data-root", "storage", "report", "workers", "max-hours", "address", "mlflow-uri"),
    preset,
    {**CONFIG_OPTIONS, "verdict.methods": "methods"},
    unused=("verdict.methods",),
)
