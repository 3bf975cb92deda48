"""Speedups of the optimised algorithms, as ratios (so that they hold on any machine), on one thread.

    uapfp benchmark --parts responses uap               # all parts on digits take several minutes
    uapfp benchmark --data-root DATA --report benchmark.json

uap         projected gradient over the set against Moosavi-Dezfooli's loop, at equal radius
deepfool    DeepFool over all classes against the backward passes that it needs
responses   unique images queried once and gathered, against querying view by view
encoders    encoders of 257 suspects, ten resamples, against a lower bound from their arithmetic
workers     share of the workers' time that a small evaluation spends on models
driver      1,000 to 100,000 specs that do nothing: the driver's time and memory (minutes)
scaling     two workers against one, Ray against a bare process pool (minutes, on 2 idle cores)
precision   12 models in float32 and in bfloat16 (a quarter of an hour; --data-root, bfloat16)
peers       DeepFool and UAP of torchattacks and ART on the same net, images, radius (extra `peers`)
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import torch

from uapfp_dist.benchmarks.measure import Part, measure
from uapfp_dist.cli.parser.command import Command
from uapfp_dist.errors import UserError
from uapfp_dist.results.driver import driver_figure
from uapfp_dist.serialization import to_json


@dataclass(frozen=True)
class Benchmark:
    """Measure ratios; several minutes with Fashion-MNIST."""

    parts: tuple[Part, ...] = get_args(Part)
    """What to measure (default: everything). peers is skipped where their libraries are not installed, precision
    without bfloat16."""
    data_root: Path | None = None
    """Folder with Fashion-MNIST in torchvision's layout (default: digits alone). precision needs it."""
    workers: int | None = None
    """Workers of the small evaluation, as in uapfp evaluate. 0 runs it in this process, without Ray."""
    report: Path | None = None
    """Also write everything, traces included, as JSON to this file. driver has a figure beside it."""


def benchmark(chosen: Benchmark) -> None:
    """Measure, report."""
    if chosen.report is not None and not chosen.report.resolve().parent.is_dir():
        raise UserError(
            f"report: expected an existing folder for {chosen.report}, found none; make it first", argument="report"
        )
    torch.set_num_threads(1)
    measured = measure(chosen.parts, chosen.data_root, chosen.workers, partial(print, flush=True))
    if chosen.report is not None:
        chosen.report.write_text(json.dumps(to_json(measured), indent=1))
        if measured.driver is not None:
            driver_figure(measured.driver).savefig(chosen.report.with_suffix(".png"))


COMMAND = Command(Benchmark, benchmark, __doc__, ("parts", "data-root", "workers", "report"))
