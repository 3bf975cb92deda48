"""A race of two algorithms for UAPs to the highest fooling rate that both reach."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from uapfp_dist.benchmarks.victims import UAP_IMAGES
from uapfp_dist.perturbations.uap import search_xi
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.method_configs import UapConfig

SGD_PASSES = (1, 2, 3, 5, 8, 12, 20)
"""Of `uap_sgd`, each a run of its own: its step lengths follow from the number of passes."""


@dataclass(frozen=True)
class Point:
    """A point of a trace."""

    seconds: float
    """CPU seconds spent on the perturbation so far; measuring the fooling rate is not counted."""
    fooling: float
    """On held-out images, without clipping."""
    passes: int | None = None
    l2: float | None = None


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
class Races:
    """All races at the radius that the product would choose."""

    xi: float
    fooling: float
    """Mean over races of the rate that both reach."""
    seconds: dict[str, float]
    """Sums over races."""
    ratio: float
    """Seconds of the other algorithm over ours."""
    races: list[Race]
    best: dict[str, float]
    """Means over races."""


def images_and_radius(net: nn.Module, own: Tensor, held_out: Tensor) -> tuple[Tensor, float]:
    """The images that UAPs are fitted on, and the radius that the product would choose.

    Args:
        net: to fool, in evaluation mode.
        own: (N, c, h, w) to choose from.
        held_out: (M, c, h, w) for the fooling rates.
    """
    config, norm = UapConfig(), float(own.flatten(1).norm(dim=1).mean())
    images = own[torch.randperm(len(own), generator=torch_rng("images"))[:UAP_IMAGES]]
    grid = [share * norm for share in config.xi_grid]
    found = search_xi(net, images, held_out, grid, config.target_fooling, "sgd", config.passes, torch_rng("xi"))
    return images, found.xi


def race(traces: dict[str, list[Point]]) -> Race:
    """From the trace of each algorithm."""
    best = {name: max(point.fooling for point in trace) for name, trace in traces.items()}
    level = min(best.values())
    seconds = {name: min(point.seconds for point in trace if point.fooling >= level) for name, trace in traces.items()}
    return Race(level, best, seconds, traces)


def sum_up(xi: float, races: list[Race], ours: str, other: str) -> Races:
    """Races at radius `xi` of the algorithms of these two names."""
    best = {name: sum(one.best[name] for one in races) / len(races) for name in (ours, other)}
    seconds = {name: sum(one.seconds[name] for one in races) for name in (ours, other)}
    level = sum(one.fooling for one in races) / len(races)
    return Races(xi, level, seconds, seconds[other] / seconds[ours], races, best)
