"""Part `uap` of benchmark.py: projected gradient over the set against Moosavi-Dezfooli's loop, image by image."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from benchmark_victims import UAP_IMAGES, Stopwatch, TrainedVictim
from torch import Tensor

from uapfp_dist.models.blackbox import batched_outputs
from uapfp_dist.perturbations.deepfool import deepfool
from uapfp_dist.perturbations.uap import DEEPFOOL_STEPS, fooling_rate, project, search_xi, uap_sgd
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.method_configs import UapConfig

CHECK_EVERY = 25
"""Images between two points of the loop's trace."""
LOOP_PASSES = 5
SGD_PASSES = (1, 2, 3, 5, 8, 12, 20)
ORDERS = 5
"""The loop's fooling rate jumps about: one order of the images would be luck."""


@dataclass(frozen=True)
class Point:
    """A point of a trace."""

    seconds: float
    """CPU seconds spent on the perturbation so far; measuring the fooling rate is not counted."""
    fooling: float
    """On held-out images, without clipping."""


@dataclass(frozen=True)
class Race:
    """Both algorithms on one order of the images; the keys are their names."""

    fooling: float
    """The highest fooling rate that both reach."""
    best: dict[str, float]
    """The highest fooling rate of each."""
    seconds: dict[str, float]
    """CPU seconds of each until the rate that both reach."""
    traces: dict[str, list[Point]]


@dataclass(frozen=True)
class UapRatio:
    """All races at the radius that the product would choose."""

    xi: float
    fooling: float
    """Mean over races of the rate that both reach."""
    seconds: dict[str, float]
    """Sums over races."""
    ratio: float
    """Seconds of the loop over those of projected gradient."""
    races: list[Race]


def one_by_one(trained: TrainedVictim, images: Tensor, xi: float, order: int) -> Iterator[Point]:
    """Moosavi-Dezfooli's loop: DeepFool on every image that v does not fool yet, added to v, projected."""
    rng, watch = torch_rng("loop", order), Stopwatch()
    with watch:
        labels = batched_outputs(trained.net, images, "forward").argmax(1)
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


def uap_ratio(trained: TrainedVictim) -> UapRatio:
    """Both algorithms at the radius that the product would choose."""
    config = UapConfig()
    images = trained.own[torch.randperm(len(trained.own), generator=torch_rng("images"))[:UAP_IMAGES]]
    norm = float(trained.own.flatten(1).norm(dim=1).mean())
    grid = [share * norm for share in config.xi_grid]
    found = search_xi(
        trained.net, images, trained.held_out, grid, config.target_fooling, "sgd", config.passes, torch_rng("xi")
    )
    races = [race(trained, images, found.xi, order) for order in range(ORDERS)]
    seconds = {name: sum(one.seconds[name] for one in races) for name in ALGORITHMS}
    ratio = seconds["one_by_one"] / seconds["sgd"]
    level = sum(one.fooling for one in races) / ORDERS
    print(
        f"uap, {trained.name}, {len(images)} images, xi {found.xi:.2f}, {ORDERS} orders of them: both reach fooling "
        f"{level:.2f} on average; sgd {seconds['sgd']:.2f} s in all, one by one {seconds['one_by_one']:.2f} s: "
        f"ratio {ratio:.1f}"
    )
    return UapRatio(found.xi, level, seconds, ratio, races)


def race(trained: TrainedVictim, images: Tensor, xi: float, order: int) -> Race:
    """Both algorithms on one order of the images, to the highest fooling rate that both reach."""
    traces = {name: list(algorithm(trained, images, xi, order)) for name, algorithm in ALGORITHMS.items()}
    best = {name: max(point.fooling for point in trace) for name, trace in traces.items()}
    level = min(best.values())
    seconds = {name: seconds_to(level, trace) for name, trace in traces.items()}
    return Race(level, best, seconds, traces)


ALGORITHMS: dict[str, Callable[[TrainedVictim, Tensor, float, int], Iterator[Point]]] = {
    "sgd": over_the_set,
    "one_by_one": one_by_one,
}
