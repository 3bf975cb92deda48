"""Part `responses` of the benchmark: query unique images once and gather, against querying view by view."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from uapfp_dist.benchmarks.clock import Stopwatch
from uapfp_dist.benchmarks.victims import CPU, UAP_IMAGES, TrainedVictim
from uapfp_dist.fingerprints.blocks import PAPER
from uapfp_dist.fingerprints.fingerprint import fingerprints
from uapfp_dist.fingerprints.probe import in_turn
from uapfp_dist.fingerprints.probe_data import Probe
from uapfp_dist.fingerprints.querying import query_model
from uapfp_dist.fingerprints.selection import clusters, neighbour_views, unique_points
from uapfp_dist.models.blackbox import batched_outputs, predict_probabilities
from uapfp_dist.perturbations.uap import uap_sgd
from uapfp_dist.response_format import PROBABILITIES
from uapfp_dist.rng import torch_rng

N_POINTS, N_VIEWS = 100, 200


@dataclass(frozen=True)
class ResponsesRatio:
    """Both variants of querying; the keys are their names."""

    images: dict[str, int]
    """Images sent."""
    seconds: dict[str, float]
    """CPU seconds."""
    ratio: float
    """Seconds view by view over seconds gathered."""


def probe_of(trained: TrainedVictim) -> Probe:
    """200 views of 100 points of D_v with one universal perturbation."""
    centres = clusters(batched_outputs(trained.net, trained.own, "features"), N_POINTS, 0)[1]
    views = neighbour_views(batched_outputs(trained.net, trained.own, "forward"), centres, N_VIEWS, torch_rng("views"))
    index, views = unique_points(views)
    v = uap_sgd(trained.net, trained.own[:UAP_IMAGES], 1.0, 2, torch_rng("sgd"))
    nothing = trained.own[:1]
    return Probe(
        trained.own[index],
        views,
        {PAPER: in_turn(v, views)},
        nothing,
        torch.zeros(1, dtype=torch.long),
        N_VIEWS,
    )


def gathered(trained: TrainedVictim, probe: Probe) -> tuple[Tensor, int]:
    """Fingerprints (V, D) from the responses to unique images, and how many those are."""
    responses = query_model(trained.net, probe, CPU)
    prints = fingerprints(responses, probe.views, probe.blocks[PAPER].gather, PAPER, PROBABILITIES)
    return prints, sum(len(block) for block in responses.blocks.values())


def view_by_view(trained: TrainedVictim, probe: Probe) -> tuple[Tensor, int]:
    """The same fingerprints, every view queried anew."""
    v = probe.blocks[PAPER].perturbations
    prints = []
    for view in probe.views:
        clean = probe.points[view]
        pair = [predict_probabilities(trained.net, images) for images in (clean, (clean + v).clamp(0.0, 1.0))]
        prints.append(torch.stack(pair, dim=1).flatten())
    return torch.stack(prints), 2 * probe.views.numel()


def responses_ratio(trained: TrainedVictim, say: Callable[[str], object]) -> ResponsesRatio:
    """Both variants, which give the same fingerprints."""
    probe = probe_of(trained)
    variants: dict[str, Callable[[TrainedVictim, Probe], tuple[Tensor, int]]] = {
        "gathered": gathered,
        "view_by_view": view_by_view,
    }
    prints, images, seconds = {}, {}, {}
    for name, variant in variants.items():
        variant(trained, probe)  # the first call pays for allocations
        with Stopwatch() as watch:
            prints[name], images[name] = variant(trained, probe)
        seconds[name] = watch.seconds
    torch.testing.assert_close(prints["gathered"], prints["view_by_view"], rtol=1e-3, atol=1e-4)
    ratio = seconds["view_by_view"] / seconds["gathered"]
    say(
        f"responses, {trained.name}, {N_VIEWS} views x {N_POINTS} points over {len(trained.own)} images: equal "
        f"fingerprints; {images['view_by_view']} images in {seconds['view_by_view']:.2f} s view by view, "
        f"{images['gathered']} in {seconds['gathered']:.3f} s gathered: ratio {ratio:.1f}"
    )
    return ResponsesRatio(images, seconds, ratio)
