"""Does an encoder trained on one data set judge the models of another? (the paper's supplement)

    uapfp evaluate --preset digits --fingerprint.n-points 100
    uapfp transfer --source fashion_mnist-small --target digits --n-points 100 --data-root DATA

Both evaluations must lie finished in the storage, with the same number of points and classes.
"""

from dataclasses import dataclass, field
from typing import Annotated

import torch
import tyro

from uapfp_dist.cli.parser.command import Command
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.evaluation.transfer import areas
from uapfp_dist.launch.report_file import check_report, write_report
from uapfp_dist.launch.transfer import read_side, without
from uapfp_dist.reporting.number_format import interval


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
    """Points per fingerprint, for both (default: as in the presets)."""
    runtime: Annotated[RuntimeConfig, tyro.conf.arg(name="")] = field(default_factory=RuntimeConfig)


def transfer(chosen: Transfer) -> None:
    """Read both evaluations, compare."""
    torch.set_num_threads(1)
    paths = resolve(chosen.runtime)
    check_report(paths.report)
    source = read_side(chosen.source, chosen.source_seed, chosen.n_points, paths)
    target = read_side(chosen.target, chosen.target_seed, chosen.n_points, paths)
    found = areas(source, target)
    print(
        f"one UAP of the paper's norm, probabilities; models of {chosen.target}, AUC of stolen against each group, mean"
    )
    print(f"over {source.plan.config.verdict.n_resamples} resamples with 95 % bootstrap intervals over models:")
    print(f"{'encoder trained on':<28}" + "".join(f"{group:>22}" for group in found["own"]))
    for variant, name in (("own", chosen.target), ("transferred", chosen.source)):
        cells = (interval(e.mean, e.low, e.high) for e in found[variant].values())
        print(f"{name:<28}" + "".join(f"{cell:>22}" for cell in cells))
    missing = {}
    for side, preset, read in (("source", chosen.source, source), ("target", chosen.target, target)):
        if read.missing:
            print(f"{side} {preset}: {without(read.missing)}")
            missing[side] = dict(read.missing)
    write_report(paths.report, {**found, "missing": missing} if missing else found)


COMMAND = Command(
    Transfer,
    transfer,
    __doc__,
    ("source", "target", "n-points", "source-seed", "target-seed", "data-root", "storage", "report"),
    unused=(
        "workers",
        "gpus_per_worker",
        "gpu_shares",
        "address",
        "mlflow_uri",
        "mlflow_experiment",
        "spec_timeout",
        "max_hours",
    ),
)
