"""Part `uap` of the benchmark: projected gradient over the set against Moosavi-Dezfooli's loop, image by image."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from uapfp_dist.benchmarks.clock import Stopwatch
from uapfp_dist.benchmarks.race import SGD_PASSES, Point, Races, images_and_radius, race, sum_up
from uapfp_dist.benchmarks.victims import TrainedVictim
from uapfp_dist.models.blackbox import batched_outputs
from uapfp_dist.perturbations.deepfool import deepfool
from uapfp_dist.perturbations.uap import DEEPFOOL_STEPS, fooling_rate, project, uap_sgd
from uapfp_dist.rng import torch_rng

CHECK_EVERY = 25
"""Images between two points of the loop's trace."""
LOOP_PASSES = 5
ORDERS = 5
"""The loop's fooling rate jumps about: one order of the images would be luck."""


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


def uap_ratio(trained: TrainedVictim, say: Callable[[str], object]) -> Races:
    """Both algorithms at the radius that the product would choose."""
    images, xi = images_and_radius(trained.net, trained.own, trained.held_out)
    races = [
        race({name: list(algorithm(trained, images, xi, order)) for name, algorithm in ALGORITHMS.items()})
        for order in range(ORDERS)
    ]
    found = sum_up(xi, races, "sgd", "one_by_one")
    say(
        f"uap, {trained.name}, {len(images)} images, xi {xi:.2f}, {ORDERS} orders of them: both reach fooling "
        f"{found.fooling:.2f} on average; sgd {found.seconds['sgd']:.2f} s in all, one by one "
        f"{found.seconds['one_by_one']:.2f} s: ratio {found.ratio:.1f}"
    )
    return found


ALGORITHMS: dict[str, Callable[[TrainedVictim, Tensor, float, int], Iterator[Point]]] = {
    "sgd": over_the_set,
    "one_by_one": one_by_one,
}
