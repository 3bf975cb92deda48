"""Part `switches`: what each switch of `uapfp_dist.acceleration` is worth, net by net."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch

from uapfp_dist.acceleration import NONE, Acceleration, accelerated
from uapfp_dist.benchmarks.clock import Stopwatch
from uapfp_dist.benchmarks.gpu.notes import Notes
from uapfp_dist.benchmarks.gpu.settings import Settings
from uapfp_dist.config.presets import preset
from uapfp_dist.data import Dataset
from uapfp_dist.fingerprints.blocks import PAPER
from uapfp_dist.fingerprints.probe import in_turn
from uapfp_dist.fingerprints.probe_data import Probe
from uapfp_dist.fingerprints.querying import query_model
from uapfp_dist.models.training import Trainer
from uapfp_dist.rng import seeded, torch_rng
from uapfp_dist.tasks.specs import Recipe

BATCH = 64
IMAGES = 12_000
"""That one model is trained on."""
OF_TRAINING = ("tensor_rate", "device_order", "byte_images", "cuda_graph")


@dataclass(frozen=True)
class StepTime:
    """One net under one choice of switches."""

    milliseconds: float
    """A step of 64 images."""
    seconds_per_model: float
    """At the epochs of `fashion_mnist`, with that many steps."""
    memory_mib: float
    """The most that the GPU held meanwhile; 0 on a CPU."""
    recorded: bool
    """Whether the step was recorded as a graph."""


@dataclass(frozen=True)
class QueryTime:
    """A probe of 5,000 points, asked once."""

    seconds: float
    images_per_second: float


def choices(small: bool) -> dict[str, Acceleration]:
    """Name to switches: all, none, all but one or what hangs together, and the graph of a large net."""
    without = {f"without {name}": replace(Acceleration(), **{name: False}) for name in OF_TRAINING}
    if small:  # a graph needs the rate: alone it would go on by neither
        both = replace(without.pop("without tensor_rate"), cuda_graph=False)
        without["without cuda_graph, tensor_rate"] = both
    else:  # its step is not recorded by default
        del without["without cuda_graph"]
        without["with graph_large"] = Acceleration(graph_large=True)
    return {"all": Acceleration(), "none": NONE, **without}


def planned(settings: Settings) -> list[str]:
    """Names of all measurements."""
    return list(_measurements(settings, settings.images))


def measure(settings: Settings, notes: Notes) -> None:
    """All and none of every net first, then switch by switch."""
    dataset = settings.images()  # read once
    for name, take in _measurements(settings, lambda: dataset).items():
        notes.take(name, take)


def _measurements(settings: Settings, images: Callable[[], Dataset]) -> dict[str, Callable[[], object]]:
    nets = settings.small_nets + settings.large_nets
    by_net = {name: choices(name in settings.small_nets) for name in nets}
    pairs = [(name, choice) for choice in ("all", "none") for name in nets]
    pairs += [(name, choice) for name in nets for choice in by_net[name] if choice not in ("all", "none")]
    found: dict[str, Callable[[], object]] = {
        f"{name}, {choice}": partial(step_time, settings, images, name, by_net[name][choice]) for name, choice in pairs
    }
    for name in (*settings.small_nets[:1], *settings.large_nets[:1]):
        for choice, chosen in {"with": Acceleration(), "without": replace(Acceleration(), device_probe=False)}.items():
            found[f"queries of {name}, {choice} device_probe"] = partial(query_time, settings, images, name, chosen)
    return found


def step_time(settings: Settings, given: Callable[[], Dataset], name: str, chosen: Acceleration) -> StepTime:
    """Train for a number of steps, the first of which are not counted.

    Args:
        settings: where.
        given: the images; what of them lies on a GPU for another measurement is not counted.
        name: of the net.
        chosen: the switches.
    """
    dataset, device, small = replace(given()), settings.torch_device, name in settings.small_nets
    warm, timed = settings.size(30 if small else 8, 6), settings.size(300 if small else 25, 24)
    index = torch.arange(min(IMAGES, len(dataset.labels)))
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    with accelerated(chosen), seeded(1, device):
        images, labels = dataset.to_train_on(index, device), dataset.labels[index].to(device)
        net = settings.net(name, dataset, device)
        net.normalise_by(images)
        trainer = Trainer(net, Recipe("adam", BATCH, BATCH * (warm + timed)), torch_rng("order"))
        trainer.run(images, labels, warm / (warm + timed))
        with Stopwatch(device) as watch:
            trainer.run(images, labels)
    seconds = watch.seconds / timed
    steps = preset("fashion_mnist").zoo.epochs * IMAGES / BATCH
    memory = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else 0.0
    return StepTime(1000 * seconds, steps * seconds, memory, trainer.is_recorded)


def query_time(settings: Settings, given: Callable[[], Dataset], name: str, chosen: Acceleration) -> QueryTime:
    """Ask a net all images of a probe, the first time not counted."""
    dataset, device, n = given(), settings.torch_device, settings.size(5000, 40)
    points = dataset.pixels(torch.arange(n))
    views = torch.arange(n).view(-1, 20)
    noise = 0.1 * torch.randn(4, *dataset.shape, generator=torch_rng("noise"))
    probe = Probe(points, views, {PAPER: in_turn(noise, views)}, points[:100], torch.zeros(100), len(views))
    net = settings.net(name, dataset, device, points)
    with accelerated(chosen):
        query_model(net, probe, device)
        with Stopwatch(device) as watch:
            query_model(net, probe, device)
    return QueryTime(watch.seconds, (2 * n + len(probe.natural)) / watch.seconds)
