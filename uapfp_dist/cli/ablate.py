"""Repeat an evaluation over a grid of settings, Figure 6 left or any other, on stored responses.

    uapfp ablate --grid n_points=10,30,60 --grid top_k=1,3,10
    uapfp ablate --preset fashion_mnist-small --grid encoder.tau=0.1,0.2,0.5 --grid zoo.overlap=0,1

Plain names need only stored responses: n_points, top_k (0: the label), n_views, xi, loss, recovery,
architecture (of the models that train the encoder). Dotted names are fields of the configuration;
what they need is made first, once. Values of a field that holds several are joined by +:
zoo.architectures=B+C,D+E. Running the same command again resumes.
"""

from dataclasses import dataclass, field
from typing import Annotated

import tyro

from uapfp_dist.cli.mlflow_hint import mlflow_hint
from uapfp_dist.cli.parser.command import CONFIG_OPTIONS, Command
from uapfp_dist.config.presets import preset
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.config.schema import Config
from uapfp_dist.launch.ablation import run_grid
from uapfp_dist.reporting.grid_report import grid_text
from uapfp_dist.reporting.grid_schema import GridReport


@dataclass(frozen=True)
class Ablate:
    """Vary an evaluation over a grid."""

    preset: str = "digits"
    """The evaluation to vary, as in uapfp evaluate."""
    seed: int = 0
    """Its seed."""
    grid: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """An axis, name=value,value; repeat it for more (default: n_points by top_k)."""
    runtime: Annotated[RuntimeConfig, tyro.conf.arg(name="")] = field(default_factory=RuntimeConfig)
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


def ablate(chosen: Ablate) -> None:
    """Run, print the result."""
    print_grid(run_grid(chosen.config, chosen.preset, chosen.seed, chosen.runtime, chosen.grid), chosen.runtime)


def print_grid(report: GridReport, runtime: RuntimeConfig) -> None:
    """The table, what it took, how to open the page."""
    paths = resolve(runtime)
    print(f"\n{grid_text(report)}\n")
    print(
        f"{report.cells} cells, {report.trials.run} run and {report.trials.reused} reused, "
        f"{report.encoders_trained} encoders trained, "
        f"{report.models.trained} models trained; {report.wall_seconds:.0f} s. Artifacts: {paths.storage}"
    )
    print(mlflow_hint(runtime, "Tables and figures"), flush=True)


COMMAND = Command(
    Ablate,
    ablate,
    __doc__,
    ("preset", "seed", "grid", "data-root", "storage", "report", "workers", "address", "mlflow-uri"),
    preset,
    CONFIG_OPTIONS,
)
