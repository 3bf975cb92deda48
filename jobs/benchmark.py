"""What the shortcuts are worth, as ratios (so that they hold on any machine), on one thread.

    python jobs/benchmark.py                                   # all parts on digits, several minutes
    python jobs/benchmark.py --data-root DATA                  # UAP and answers on Fashion-MNIST too
    python jobs/benchmark.py --parts answers --report benchmark.json

uap      projected gradient over the set against Moosavi-Dezfooli's loop, image by image, at equal radius: CPU seconds
         until the highest held-out fooling rate that both reach

answers  ask 200 views x 100 points as unique images once and gather, against asking view by view

workers  share of the workers' time that a small evaluation spends on models

noop     10,000 specs that do nothing through the real pool: specs per second, the driver's memory

scaling  the zoo stage of digits: two workers against one, busy time, Ray against a bare process pool (idle machine,
         two cores; minutes)

peers    DeepFool of torchattacks and ART, UAP of ART, on the same net, images and radius (extra `peers`)
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import benchmark_peers as peers
import torch
import tyro
from torch import Tensor

from uapfp_dist.command import main
from uapfp_dist.config.presets import preset
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.config.schema import Config, VerdictConfig, ZooConfig
from uapfp_dist.data import load, make_splits
from uapfp_dist.errors import UserError
from uapfp_dist.fingerprints.fingerprint import fingerprints
from uapfp_dist.fingerprints.probe import in_turn
from uapfp_dist.fingerprints.probe_data import Probe
from uapfp_dist.fingerprints.querying import query_model
from uapfp_dist.fingerprints.selection import centre_points, neighbour_views, unique_points
from uapfp_dist.launch.evaluation import run
from uapfp_dist.launch.workers import default_auth_mode
from uapfp_dist.models import Net, build
from uapfp_dist.models.blackbox import ask, layer
from uapfp_dist.models.training import fit
from uapfp_dist.perturbations.deepfool import deepfool
from uapfp_dist.perturbations.uap import DEEPFOOL_STEPS, fooling_rate, project, search_xi, uap_sgd
from uapfp_dist.response_format import PROBABILITIES
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.method_configs import UapConfig
from uapfp_dist.tasks.specs import DataSpec, Recipe

Part = Literal["uap", "answers", "workers", "noop", "scaling", "peers"]
CPU = torch.device("cpu")
UAP_IMAGES = 300
CHECK_EVERY = 25
"""Images between two points of the loop's trace."""
LOOP_PASSES = 5
SGD_PASSES = (1, 2, 3, 5, 8, 12, 20)
ORDERS = 5
"""The loop's fooling rate jumps about: one order of the images would be luck."""
N_POINTS, N_VIEWS = 100, 200


@dataclass(frozen=True)
class Benchmark:
    """Measure ratios; several minutes with Fashion-MNIST."""

    parts: tuple[Part, ...] = ("uap", "answers", "workers", "noop", "scaling", "peers")
    """What to measure; peers is skipped where their libraries are not installed."""
    data_root: Path | None = None
    """Folder with Fashion-MNIST in torchvision's layout; without it the perturbations are measured on digits alone."""
    workers: int | None = None
    """Workers of the small evaluation (default: as in full_eval.py; 0 runs it in this process, without Ray)."""
    report: Path | None = None
    """Also write everything, traces included, as JSON to this file."""


@dataclass(frozen=True)
class Point:
    """A point of a trace."""

    seconds: float
    """CPU seconds spent on the perturbation so far; measuring the fooling rate is not counted."""
    fooling: float
    """On held-out images, without clipping."""


@dataclass
class Stopwatch:
    """CPU seconds of this process inside `with` blocks: other processes on the machine do not count."""

    seconds: float = 0.0
    started: float = field(default=0.0, repr=False)

    def __enter__(self) -> "Stopwatch":
        self.started = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.process_time() - self.started


@dataclass(frozen=True)
class TrainedVictim:
    """A trained victim, its training images and images it has never seen."""

    name: str
    net: Net
    own: Tensor
    held_out: Tensor


def prepare(name: str, data_root: Path | None, width: int, samples_seen: int) -> TrainedVictim:
    """Train architecture A on D_v of data set `name`."""
    dataset = load(name, data_root)
    data = preset("digits").data
    splits = make_splits(dataset, DataSpec(name, dataset.digest, 0, data.train_share, data.outside_shares))
    own, held_out = dataset.pixels(splits.d_v), dataset.pixels(splits.probe)[:1000]
    net = build("A", dataset.shape, dataset.n_classes, width, 0, CPU)
    net.normalise_by(own)
    fit(net, own, dataset.labels[splits.d_v], Recipe("adam", 128, samples_seen), torch_rng("order"))
    return TrainedVictim(name, net, own, held_out)


def one_by_one(trained: TrainedVictim, images: Tensor, xi: float, order: int) -> Iterator[Point]:
    """Moosavi-Dezfooli's loop: DeepFool on every image that v does not fool yet, added to v, projected."""
    rng, watch = torch_rng("loop", order), Stopwatch()
    with watch:
        labels = layer(trained.net, images, "forward").argmax(1)
        v = torch.zeros_like(images[:1])
    for _ in range(LOOP_PASSES):
        for n, i in enumerate(torch.randperm(len(images), generator=rng).tolist(), start=1):
            with watch:
                found = deepfool(trained.net, images[i : i + 1] + v, labels[i : i + 1], max_steps=DEEPFOOL_STEPS)
                v = project(v + found.delta, xi)
            if n % CHECK_EVERY == 0:
                yield Point(watch.seconds, fooling_rate(trained.net, trained.held_out, v, clip=False))


def over_the_set(trained: TrainedVictim, images: Tensor, xi: float, order: int) -> Iterator[Point]:
    """`uap_sgd` for ever more passes, each from zero: its step lengths follow from the number of passes."""
    for passes in SGD_PASSES:
        watch = Stopwatch()
        with watch:
            v = uap_sgd(trained.net, images, xi, passes, torch_rng("sgd", order))
        yield Point(watch.seconds, fooling_rate(trained.net, trained.held_out, v, clip=False))


def seconds_to(level: float, trace: list[Point]) -> float:
    """The least CPU seconds with which a trace reaches `level`."""
    return min(point.seconds for point in trace if point.fooling >= level)


def uap_ratio(trained: TrainedVictim) -> dict[str, Any]:
    """Both algorithms at the radius that the product would choose."""
    config = UapConfig()
    images = trained.own[torch.randperm(len(trained.own), generator=torch_rng("images"))[:UAP_IMAGES]]
    norm = float(trained.own.flatten(1).norm(dim=1).mean())
    grid = [share * norm for share in config.xi_grid]
    found = search_xi(
        trained.net, images, trained.held_out, grid, config.target_fooling, "sgd", config.passes, torch_rng("xi")
    )
    races = [race(trained, images, found.xi, order) for order in range(ORDERS)]
    seconds = {way: sum(one["seconds"][way] for one in races) for way in WAYS}
    ratio = seconds["one_by_one"] / seconds["sgd"]
    level = sum(one["fooling"] for one in races) / ORDERS
    print(
        f"uap, {trained.name}, {len(images)} images, xi {found.xi:.2f}, {ORDERS} orders of them: both reach fooling "
        f"{level:.2f} on average; sgd {seconds['sgd']:.2f} s in all, one by one {seconds['one_by_one']:.2f} s: "
        f"ratio {ratio:.1f}"
    )
    return {"xi": found.xi, "fooling": level, "seconds": seconds, "ratio": ratio, "races": races}


def race(trained: TrainedVictim, images: Tensor, xi: float, order: int) -> dict[str, Any]:
    """Both algorithms on one order of the images, to the highest fooling rate that both reach."""
    traces = {way: list(algorithm(trained, images, xi, order)) for way, algorithm in WAYS.items()}
    best = {way: max(point.fooling for point in trace) for way, trace in traces.items()}
    level = min(best.values())
    return {
        "fooling": level,
        "best": best,
        "seconds": {way: seconds_to(level, trace) for way, trace in traces.items()},
        "traces": {way: [asdict(point) for point in trace] for way, trace in traces.items()},
    }


WAYS: dict[str, Callable[[TrainedVictim, Tensor, float, int], Iterator[Point]]] = {
    "sgd": over_the_set,
    "one_by_one": one_by_one,
}


def probe_of(trained: TrainedVictim) -> Probe:
    """200 views of 100 points of D_v with one universal perturbation."""
    centres = centre_points(layer(trained.net, trained.own, "features"), N_POINTS, 0)
    views = neighbour_views(layer(trained.net, trained.own, "forward"), centres, N_VIEWS, torch_rng("views"))
    index, views = unique_points(views)
    v = uap_sgd(trained.net, trained.own[:UAP_IMAGES], 1.0, 2, torch_rng("sgd"))
    nothing = trained.own[:1]
    return Probe(
        trained.own[index],
        views,
        {"uap": in_turn(v, views)},
        nothing,
        torch.zeros(1, dtype=torch.long),
        {"round_to_8_bits": False, "n_test_views": N_VIEWS},
    )


def gathered(trained: TrainedVictim, probe: Probe) -> tuple[Tensor, int]:
    """Fingerprints (V, D) from the answers to unique images, and how many those are."""
    answers = query_model(trained.net, probe, CPU)
    prints = fingerprints(answers, probe.views, probe.blocks["uap"].gather, "uap", PROBABILITIES)
    return prints, sum(len(block) for block in answers.blocks.values())


def view_by_view(trained: TrainedVictim, probe: Probe) -> tuple[Tensor, int]:
    """The same fingerprints, every view asked anew."""
    v = probe.blocks["uap"].perturbations
    prints = []
    for view in probe.views:
        clean = probe.points[view]
        pair = [ask(trained.net, images) for images in (clean, (clean + v).clamp(0.0, 1.0))]
        prints.append(torch.stack(pair, dim=1).flatten())
    return torch.stack(prints), 2 * probe.views.numel()


def answers_ratio(trained: TrainedVictim) -> dict[str, Any]:
    """Both ways to the same fingerprints."""
    probe = probe_of(trained)
    ways: dict[str, Callable[[TrainedVictim, Probe], tuple[Tensor, int]]] = {
        "gathered": gathered,
        "view_by_view": view_by_view,
    }
    prints, images, seconds = {}, {}, {}
    for name, way in ways.items():
        way(trained, probe)  # the first call pays for allocations
        with Stopwatch() as watch:
            prints[name], images[name] = way(trained, probe)
        seconds[name] = watch.seconds
    torch.testing.assert_close(prints["gathered"], prints["view_by_view"], rtol=1e-3, atol=1e-4)
    ratio = seconds["view_by_view"] / seconds["gathered"]
    print(
        f"answers, {trained.name}, {N_VIEWS} views x {N_POINTS} points over {len(trained.own)} images: equal "
        f"fingerprints; {images['view_by_view']} images in {seconds['view_by_view']:.2f} s view by view, "
        f"{images['gathered']} in {seconds['gathered']:.3f} s gathered: ratio {ratio:.1f}"
    )
    return {"images": images, "seconds": seconds, "ratio": ratio}


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
    verdict = VerdictConfig(n_train=3, n_calibrate=4, n_draws=2, methods=("uap", "weighted_errors"))
    encoder = replace(config.encoder, epochs=5)
    return replace(config, zoo=zoo, verdict=verdict, encoder=encoder)


def workers_busy(workers: int | None) -> dict[str, Any]:
    """Run a small evaluation in a folder that is deleted afterwards, MLflow's files with it."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # nobody's server should keep a benchmark
    with tempfile.TemporaryDirectory() as folder:
        body = run(small_evaluation(), "benchmark", 0, RuntimeConfig(storage=folder, workers=workers))
    busy = body["workers_busy"]
    print(f"workers, {body['models']['trained']} models trained: workers_busy {busy:.2f}")
    return {key: body[key] for key in ("workers_busy", "models", "stage_seconds", "wall_seconds")}


def victims(chosen: Benchmark) -> list[TrainedVictim]:
    """Digits, and Fashion-MNIST where its folder is given."""
    benches = [prepare("digits", None, width=8, samples_seen=20_000)]
    if chosen.data_root is not None and {"uap", "peers"} & set(chosen.parts):
        benches.append(prepare("fashion_mnist", chosen.data_root, width=16, samples_seen=60_000))
    return benches


def against_peers(trained: TrainedVictim) -> dict[str, Any] | None:
    """None where a library is missing."""
    if missing := peers.missing():
        print(f"peers, skipped: {', '.join(missing)} not installed; pip install 'uapfp_dist[peers]'")
        return None
    return peers.compare(trained.name, trained.net, trained.own, trained.held_out)


def on_cluster(parts: tuple[Part, ...]) -> dict[str, Any]:
    """The parts that are about Ray."""
    default_auth_mode(None)
    import benchmark_cluster  # Ray takes seconds to import

    found: dict[str, Any] = {}
    if "noop" in parts:
        found["noop"] = benchmark_cluster.noop(small_evaluation())
    if "scaling" in parts:
        found["scaling"] = benchmark_cluster.scaling(preset("digits"))
    return found


def measure(chosen: Benchmark) -> dict[str, Any]:
    """Every part asked for."""
    found: dict[str, Any] = {}
    benches = victims(chosen) if {"uap", "answers", "peers"} & set(chosen.parts) else []
    if "uap" in chosen.parts:
        found["uap"] = {trained.name: uap_ratio(trained) for trained in benches}
    if "answers" in chosen.parts:
        found["answers"] = {trained.name: answers_ratio(trained) for trained in benches}
    if "workers" in chosen.parts:
        found["workers"] = workers_busy(chosen.workers)
    if {"noop", "scaling"} & set(chosen.parts):
        found |= on_cluster(chosen.parts)
    if "peers" in chosen.parts:
        found["peers"] = against_peers(benches[-1])
    return found


def job() -> None:
    """Parse, measure, report."""
    chosen = tyro.cli(Benchmark, args=sys.argv[1:], description=__doc__)
    if chosen.report is not None and not chosen.report.resolve().parent.is_dir():
        raise UserError(f"report: expected an existing folder for {chosen.report}, found none; make it first")
    torch.set_num_threads(1)
    found = measure(chosen)
    if chosen.report is not None:
        chosen.report.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(job)
