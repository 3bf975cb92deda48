"""All parts of the benchmark, one after the other, on one thread."""

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from uapfp_dist.benchmarks.deepfool import FloorRatio, floor_ratio
from uapfp_dist.benchmarks.encoders import EncodersFloor, encoders_floor
from uapfp_dist.benchmarks.peers import PeersRatio, compare, missing
from uapfp_dist.benchmarks.precision import PrecisionRatio, precision_ratio
from uapfp_dist.benchmarks.race import Races
from uapfp_dist.benchmarks.responses import ResponsesRatio, responses_ratio
from uapfp_dist.benchmarks.results import Scaling
from uapfp_dist.benchmarks.uap import uap_ratio
from uapfp_dist.benchmarks.victims import TrainedVictim, prepare
from uapfp_dist.config.presets import preset
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.config.schema import Config, ControlConfig, SiblingConfig, VerdictConfig, ZooConfig
from uapfp_dist.launch.evaluation import run
from uapfp_dist.launch.workers import default_auth_mode
from uapfp_dist.results.driver import DriverScale

Part = Literal["uap", "deepfool", "responses", "encoders", "workers", "driver", "scaling", "precision", "peers"]


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


def workers_busy(workers: int | None, say: Callable[[str], object]) -> float:
    """Run a small evaluation in a folder that is deleted afterwards, MLflow's files with it."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # nobody's server should keep a benchmark
    with tempfile.TemporaryDirectory() as folder:
        report = run(small_evaluation(), "benchmark", 0, RuntimeConfig(storage=folder, workers=workers))
    assert report.models is not None
    say(f"workers, {report.models.trained} models trained: workers_busy {report.workers_busy:.2f}")
    return report.workers_busy


def victims(parts: Sequence[Part], data_root: Path | None) -> list[TrainedVictim]:
    """Digits, and Fashion-MNIST where its folder is given."""
    found = [prepare("digits", None, width=8, samples_seen=20_000)]
    if data_root is not None and {"uap", "deepfool", "peers"} & set(parts):
        found.append(prepare("fashion_mnist", data_root, width=16, samples_seen=60_000))
    return found


def against_peers(trained: TrainedVictim, say: Callable[[str], object]) -> PeersRatio | None:
    """None where a library is missing."""
    if absent := missing():
        say(f"peers, skipped: {', '.join(absent)} not installed; pip install 'uapfp_dist[peers]'")
        return None
    return compare(trained.name, trained.net, trained.own, trained.held_out, say)


def on_cluster(parts: Sequence[Part], say: Callable[[str], object]) -> tuple[DriverScale | None, Scaling | None]:
    """The parts that are about Ray."""
    if not {"driver", "scaling"} & set(parts):
        return None, None
    default_auth_mode(None)
    from uapfp_dist.benchmarks import cluster, driver  # Ray takes seconds to import

    return (
        driver.driver(say) if "driver" in parts else None,
        cluster.scaling(replace(preset("digits"), siblings=SiblingConfig()), say) if "scaling" in parts else None,
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
    driver: DriverScale | None
    scaling: Scaling | None
    precision: PrecisionRatio | None
    peers: PeersRatio | None


def measure(
    parts: Sequence[Part], data_root: Path | None, workers: int | None, say: Callable[[str], object]
) -> Measured:
    """Every chosen part.

    Args:
        parts: what to measure; peers is skipped where their libraries are not installed, precision without bfloat16.
        data_root: folder with Fashion-MNIST; None: perturbations are measured on digits alone, precision not at all.
        workers: of the small evaluation; None: as the cluster has room for, 0: this process.
        say: takes a line per result.
    """
    trained = victims(parts, data_root) if {"uap", "deepfool", "responses", "peers"} & set(parts) else []
    uap = {one.name: uap_ratio(one, say) for one in trained} if "uap" in parts else None
    floors = {one.name: floor_ratio(one, say) for one in trained} if "deepfool" in parts else None
    responses = {one.name: responses_ratio(one, say) for one in trained} if "responses" in parts else None
    encoders = encoders_floor(say) if "encoders" in parts else None
    busy = workers_busy(workers, say) if "workers" in parts else None
    driver, scaling = on_cluster(parts, say)
    precision = precision_ratio(data_root, say) if "precision" in parts and data_root else None
    compared = against_peers(trained[-1], say) if "peers" in parts else None
    return Measured(uap, floors, responses, encoders, busy, driver, scaling, precision, compared)
