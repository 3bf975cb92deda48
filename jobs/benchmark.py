"""What the shortcuts are worth, as ratios (so that they hold on any machine), on one thread.

    python jobs/benchmark.py                                   # all parts on digits, several minutes
    python jobs/benchmark.py --data-root DATA                  # UAP and responses on Fashion-MNIST too
    python jobs/benchmark.py --parts responses --report benchmark.json

uap        projected gradient over the set against Moosavi-Dezfooli's loop, image by image, at equal radius: CPU seconds
           until the highest held-out fooling rate that both reach

deepfool   DeepFool over all classes against the backward passes that it needs

responses  query 200 views x 100 points as unique images once and gather, against querying view by view

encoders   fit and score the encoders of 257 suspects, ten resamples, on synthetic responses: wall time against a floor
           by arithmetic at the machine's speed of matrix products

workers    share of the workers' time that a small evaluation spends on models

noop       10,000 specs that do nothing through the real pool: specs per second, the driver's memory

scaling    the zoo stage of digits: two workers against one, busy time, Ray against a bare process pool (idle machine,
           two cores; minutes)

precision  12 models of fashion_mnist-small made in float32 and in bfloat16, in turn: CPU seconds, accuracy (needs
           --data-root and a CPU with bfloat16; a quarter of an hour)

peers      DeepFool of torchattacks and ART, UAP of ART, on the same net, images and radius (extra `peers`)
"""

import json
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import tyro
from benchmark_deepfool import FloorRatio, floor_ratio
from benchmark_encoders import EncodersFloor, encoders_floor
from benchmark_peers import PeersRatio, compare, missing
from benchmark_precision import PrecisionRatio, precision_ratio
from benchmark_race import Races
from benchmark_responses import ResponsesRatio, responses_ratio
from benchmark_results import Noop, Scaling
from benchmark_uap import uap_ratio
from benchmark_victims import TrainedVictim, prepare

from uapfp_dist.command import main
from uapfp_dist.config.presets import preset
from uapfp_dist.config.renamed import current_arguments
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.config.schema import Config, ControlConfig, SiblingConfig, VerdictConfig, ZooConfig
from uapfp_dist.errors import UserError
from uapfp_dist.launch.evaluation import run
from uapfp_dist.launch.workers import default_auth_mode
from uapfp_dist.serialization import to_json

Part = Literal["uap", "deepfool", "responses", "encoders", "workers", "noop", "scaling", "precision", "peers"]


@dataclass(frozen=True)
class Benchmark:
    """Measure ratios; several minutes with Fashion-MNIST."""

    parts: tuple[Part, ...] = (
        "uap", "deepfool", "responses", "encoders", "workers", "noop", "scaling", "precision", "peers",
    )  # fmt: skip
    """What to measure; peers is skipped where their libraries are not installed, precision without bfloat16."""
    data_root: Path | None = None
    """Folder with Fashion-MNIST in torchvision's layout; without it the perturbations are measured on digits alone."""
    workers: int | None = None
    """Workers of the small evaluation (default: as in full_eval.py; 0 runs it in this process, without Ray)."""
    report: Path | None = None
    """Also write everything, traces included, as JSON to this file."""


def small_evaluation() -> Config:
    """Digits with few, short models; too few to decide anything."""
    config = preset("digits")
    zoo = ZooConfig(
        epochs=10.0,
        n_piracy=8,
        n_soft_piracy=2,
        n_homologous=10,
        n_same_data=2,
        n_other_piracy=(2, 2),
        homologous_margin=1.0,
        piracy_margin=1.0,
    )
    verdict = VerdictConfig(n_train=3, n_calibrate=4, n_resamples=2, methods=("uap", "weighted_errors"))
    encoder = replace(config.encoder, epochs=5)
    return replace(
        config, zoo=zoo, verdict=verdict, encoder=encoder, siblings=SiblingConfig(), controls=ControlConfig()
    )


def workers_busy(workers: int | None) -> float:
    """Run a small evaluation in a folder that is deleted afterwards, MLflow's files with it."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # nobody's server should keep a benchmark
    with tempfile.TemporaryDirectory() as folder:
        report = run(small_evaluation(), "benchmark", 0, RuntimeConfig(storage=folder, workers=workers))
    assert report.models is not None
    print(f"workers, {report.models.trained} models trained: workers_busy {report.workers_busy:.2f}")
    return report.workers_busy


def victims(chosen: Benchmark) -> list[TrainedVictim]:
    """Digits, and Fashion-MNIST where its folder is given."""
    found = [prepare("digits", None, width=8, samples_seen=20_000)]
    if chosen.data_root is not None and {"uap", "deepfool", "peers"} & set(chosen.parts):
        found.append(prepare("fashion_mnist", chosen.data_root, width=16, samples_seen=60_000))
    return found


def against_peers(trained: TrainedVictim) -> PeersRatio | None:
    """None where a library is missing."""
    if absent := missing():
        print(f"peers, skipped: {', '.join(absent)} not installed; pip install 'uapfp_dist[peers]'")
        return None
    return compare(trained.name, trained.net, trained.own, trained.held_out)


def on_cluster(parts: tuple[Part, ...]) -> tuple[Noop | None, Scaling | None]:
    """The parts that are about Ray."""
    if not {"noop", "scaling"} & set(parts):
        return None, None
    default_auth_mode(None)
    import benchmark_cluster  # Ray takes seconds to import

    return (
        benchmark_cluster.noop(small_evaluation()) if "noop" in parts else None,
        benchmark_cluster.scaling(replace(preset("digits"), siblings=SiblingConfig())) if "scaling" in parts else None,
    )


@dataclass(frozen=True)
class Measured:
    """Every part that was measured; None for the others."""

    uap: dict[str, Races] | None
    """By data set."""
    deepfool: dict[str, FloorRatio] | None
    """By data set."""
    responses: dict[str, ResponsesRatio] | None
    """By data set."""
    encoders: EncodersFloor | None
    workers_busy: float | None
    noop: Noop | None
    scaling: Scaling | None
    precision: PrecisionRatio | None
    peers: PeersRatio | None


def measure(chosen: Benchmark) -> Measured:
    """Every chosen part."""
    parts = set(chosen.parts)
    trained = victims(chosen) if {"uap", "deepfool", "responses", "peers"} & parts else []
    uap = {one.name: uap_ratio(one) for one in trained} if "uap" in parts else None
    floors = {one.name: floor_ratio(one) for one in trained} if "deepfool" in parts else None
    responses = {one.name: responses_ratio(one) for one in trained} if "responses" in parts else None
    encoders = encoders_floor() if "encoders" in parts else None
    busy = workers_busy(chosen.workers) if "workers" in parts else None
    noop, scaling = on_cluster(chosen.parts)
    precision = precision_ratio(chosen.data_root) if "precision" in parts and chosen.data_root else None
    compared = against_peers(trained[-1]) if "peers" in parts else None
    return Measured(uap, floors, responses, encoders, busy, noop, scaling, precision, compared)


def job() -> None:
    """Parse, measure, report."""
    chosen = tyro.cli(Benchmark, args=current_arguments(sys.argv[1:], options={}), description=__doc__)
    if chosen.report is not None and not chosen.report.resolve().parent.is_dir():
        raise UserError(
            f"report: expected an existing folder for {chosen.report}, found none; make it first", argument="report"
        )
    torch.set_num_threads(1)
    measured = measure(chosen)
    if chosen.report is not None:
        chosen.report.write_text(json.dumps(to_json(measured), indent=1))


if __name__ == "__main__":
    main(job)
