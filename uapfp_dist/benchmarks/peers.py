"""Part `peers` of the benchmark: our DeepFool and UAP against those of torchattacks and ART on the same net and images.

Both libraries go image by image (ART's DeepFool takes a batch, but computes all of it until its last image is fooled;
it gets the whole set at once, which is faster for it). Nobody clips: torchattacks cannot but clip to [0, 1], so it
attacks the net in an input space where that is far away. With clipping it creeps towards the boundary for all of its
steps and leaves half of the images unfooled: slower, and not the same quality.

DeepFool is timed with every class as a candidate, as both libraries have it, and with our `n_candidates` at 5; the mean
l2 beside it says what that costs. (ART's `nb_grads` keeps the union over all images, which is every class.)
"""

import copy
import importlib.util
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from uapfp_dist.benchmarks.clock import Stopwatch
from uapfp_dist.benchmarks.race import SGD_PASSES, Point, Race, Races, images_and_radius, race, sum_up
from uapfp_dist.perturbations.deepfool import MAX_STEPS, OVERSHOOT, deepfool
from uapfp_dist.perturbations.uap import DEEPFOOL_STEPS, fooling_rate, predict, uap_sgd
from uapfp_dist.rng import torch_rng

LIBRARIES = ("art", "torchattacks")
DEEPFOOL_IMAGES = 128
ART_PASSES = (1, 2)
ORDERS = 3
"""The loop's fooling rate jumps about: one order of the images would be luck."""
REPEATS = 5
"""Of our DeepFool, which is over in a moment; the mean counts."""
FEW = 5
"""Candidates of DeepFool's short form."""
SPAN = 4.0
"""Pixel range that torchattacks may use without clipping; a wider one costs it precision at the boundary."""

Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""(net, images (B, c, h, w), their labels (B,)) to perturbations (B, c, h, w)."""


@dataclass(frozen=True)
class DeepFoolRow:
    """One library's DeepFool."""

    seconds: float
    """Of the CPU, or wall time on a GPU."""
    l2: float
    """Mean norm of the perturbations."""
    fooling: float


@dataclass(frozen=True)
class DeepFoolRace:
    """All libraries on the same images."""

    rows: dict[str, DeepFoolRow]
    ratios: dict[str, float]
    """Variant of ours to seconds of the faster library over its own."""


@dataclass(frozen=True)
class PeersRatio:
    """Both algorithms against those of other libraries."""

    deepfool: DeepFoolRace
    uap: Races


def missing() -> list[str]:
    """The libraries that are not installed."""
    return [name for name in LIBRARIES if importlib.util.find_spec(name) is None]


def compare(name: str, net: nn.Module, own: Tensor, held_out: Tensor, say: Callable[[str], object]) -> PeersRatio:
    """Both races on one net, on its device.

    Args:
        name: of the data, for the lines said.
        net: to fool, in evaluation mode.
        own: (N, c, h, w) images that UAPs are fitted on.
        held_out: (M, c, h, w) for DeepFool and for the fooling rates of UAPs.
        say: takes a line per result.
    """
    logging.getLogger("art").setLevel(logging.ERROR)  # it warns that nothing will be clipped
    net = copy.deepcopy(net)  # ART changes a net
    deepfools = deepfool_race(name, net, held_out[:DEEPFOOL_IMAGES], say)
    return PeersRatio(deepfools, uap_race(name, net, own, held_out, say))


def ours(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The whole batch at once, over all classes."""
    return deepfool(net, images, labels, n_candidates=net(images[:1]).shape[1]).delta


def ours_few(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The same over the label and its strongest rivals."""
    return deepfool(net, images, labels, n_candidates=FEW).delta


class Wide(nn.Module):
    """A net whose inputs in [0, 1] stand for pixels in [(1 - SPAN) / 2, (1 + SPAN) / 2]."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """(B, c, h, w) to logits."""
        return self.net((x - 0.5) * SPAN + 0.5)


def by_torchattacks(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """torchattacks.DeepFool."""
    import torchattacks

    attack = torchattacks.DeepFool(Wide(net).eval(), steps=MAX_STEPS, overshoot=OVERSHOOT)
    start = (images - 0.5) / SPAN + 0.5
    return (attack(start, labels) - start) * SPAN


def art_classifier(net: nn.Module, images: Tensor) -> Any:
    """`net` as ART wants it, unclipped."""
    from art.estimators.classification import PyTorchClassifier

    n_classes, kind = net(images[:1]).shape[1], "gpu" if images.device.type == "cuda" else "cpu"
    return PyTorchClassifier(net, nn.CrossEntropyLoss(), tuple(images.shape[1:]), n_classes, device_type=kind)


def by_art(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """art.attacks.evasion.DeepFool, which takes the net's own labels."""
    from art.attacks.evasion import DeepFool

    attack = DeepFool(art_classifier(net, images), MAX_STEPS, OVERSHOOT, batch_size=len(images), verbose=False)
    return torch.from_numpy(attack.generate(images.cpu().numpy())).to(images.device) - images


OURS: dict[str, Attack] = {"ours": ours, f"ours, {FEW} candidates": ours_few}
THEIRS: dict[str, Attack] = {"torchattacks": by_torchattacks, "art": by_art}


def deepfool_race(name: str, net: nn.Module, images: Tensor, say: Callable[[str], object]) -> DeepFoolRace:
    """Seconds, mean l2 and fooling rate of each library at equal steps, overshoot and classes."""
    labels = predict(net, images)
    rows = {}
    for library, attack in (OURS | THEIRS).items():
        attack(net, images[:2], labels[:2])  # the first call pays for imports and allocations
        repeats = REPEATS if library in OURS else 1
        with Stopwatch(images.device) as watch:
            for _ in range(repeats):
                delta = attack(net, images, labels)
        seconds = watch.seconds / repeats
        fooled = (predict(net, images + delta) != labels).float().mean()
        l2 = delta.flatten(1).norm(dim=1).mean()
        rows[library] = DeepFoolRow(seconds, float(l2), float(fooled))
        say(
            f"peers, {name}, DeepFool, {len(images)} images, {MAX_STEPS} steps, overshoot {OVERSHOOT}: {library} "
            f"{seconds:.2f} s, mean l2 {l2:.3f}, fooled {fooled:.3f}"
        )
    best = min(rows[library].seconds for library in THEIRS)
    ratios = {variant: best / rows[variant].seconds for variant in OURS}
    for variant, ratio in ratios.items():
        say(f"peers, {name}, DeepFool, {variant}: ratio {ratio:.1f} to the faster library")
    return DeepFoolRace(rows, ratios)


def uap_by_art(net: nn.Module, images: Tensor, xi: float, passes: int, order: int) -> Tensor:
    """art.attacks.evasion.UniversalPerturbation with the DeepFool of our own loop; (1, c, h, w)."""
    from art.attacks.evasion import UniversalPerturbation

    inner = {"max_iter": DEEPFOOL_STEPS, "epsilon": OVERSHOOT, "verbose": False}
    random.setstate(random.Random(order).getstate())  # where ART takes its order of the images from
    attack = UniversalPerturbation(
        art_classifier(net, images), "deepfool", inner, delta=0.0, max_iter=passes, eps=xi, norm=2, verbose=False
    )
    attack.generate(images.cpu().numpy())
    return torch.from_numpy(attack.noise).to(images.device)


def uap_race(name: str, net: nn.Module, own: Tensor, held_out: Tensor, say: Callable[[str], object]) -> Races:
    """Seconds until the highest fooling rate of held-out images that both reach, at the radius the product takes."""
    images, xi = images_and_radius(net, own, held_out)
    found = sum_up(xi, [one_race(net, images, held_out, xi, order) for order in range(ORDERS)], "ours", "art")
    best, seconds = found.best, found.seconds
    say(
        f"peers, {name}, UAP, {len(images)} images, xi {xi:.2f}, {ORDERS} orders of them: both reach fooling "
        f"{found.fooling:.2f} of held-out images on average "
        f"(best of any passes tried: ours {best['ours']:.2f}, ART {best['art']:.2f}); "
        f"ours {seconds['ours']:.2f} s in all, ART {seconds['art']:.1f} s: ratio {found.ratio:.0f}"
    )
    return found


def one_race(net: nn.Module, images: Tensor, held_out: Tensor, xi: float, order: int) -> Race:
    """Both on one order of the images; each number of passes is a run of its own, for ART as for us."""
    variants: dict[str, tuple[tuple[int, ...], Callable[[int], Tensor]]] = {
        "ours": (SGD_PASSES, lambda passes: uap_sgd(net, images, xi, passes, torch_rng("sgd", order))),
        "art": (ART_PASSES, lambda passes: uap_by_art(net, images, xi, passes, order)),
    }
    return race({library: trace(net, held_out, numbers, make) for library, (numbers, make) in variants.items()})


def trace(net: nn.Module, held_out: Tensor, numbers: tuple[int, ...], make: Callable[[int], Tensor]) -> list[Point]:
    """CPU seconds, held-out fooling rate (unclipped) and norm for each number of passes."""
    points = []
    for passes in numbers:
        with Stopwatch(held_out.device) as watch:
            v = make(passes)
        points.append(Point(watch.seconds, fooling_rate(net, held_out, v, clip=False), passes, float(v.norm())))
    return points
