"""Make the probe of a victim, ask it of a model, gather fingerprints from the answers (paper Eq. 6)."""

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uapfp_dist.science.blackbox import ANSWER_BATCH, ask, check_finite, k_of, layer, top_k
from uapfp_dist.science.fingerprint.ipguard import boundary_points
from uapfp_dist.science.fingerprint.selection import (
    cluster_views,
    clusters,
    natural_errors,
    neighbour_views,
    unique_points,
)
from uapfp_dist.science.perturbation.deepfool import deepfool
from uapfp_dist.science.perturbation.uap import Uap, make_uap, search_xi
from uapfp_dist.science.rng import seed_of, torch_rng
from uapfp_dist.science.zoo.net import Net
from uapfp_dist.specs import FingerprintConfig, Format, ProbeSpec, UapConfig
from uapfp_dist.types import Answers, Block, Probe

CLEAN = "clean"
"""The block of the points as they are."""
NATURAL = "natural"
"""The block of natural errors: no views, always asked whole."""
PAPER = "uap_paper"
"""The block of the paper's single UAP."""
DEEPFOOL = "uap_deepfool"
"""The block of a single UAP of the same radius, made by Moosavi-Dezfooli's algorithm."""
LAP_MINIMAL = "lap_minimal"
"""The block of DeepFool's own perturbation of each point, not rescaled."""
IPGUARD = "ipguard"
"""The block of points near the decision boundary: one view."""


DEEPFOOL_PASSES = 2
"""Passes of that algorithm: each costs as much as ten of the other, and fooling has levelled off after two."""


def block_name(perturbation: str, fraction: float) -> str:
    """The name of the answers to one kind of perturbation at one fraction of the paper's xi."""
    return f"{perturbation}@{fraction:g}"


RANDOM_PAPER = block_name("random", 1.0)
"""The block of one random vector of the paper's xi."""
LAP_PAPER = block_name("lap", 1.0)
"""The block of DeepFool's perturbation of each point, rescaled to the paper's xi."""


def make_probe(net: Net, spec: ProbeSpec, own: Tensor, held_out: Tensor, held_out_labels: Tensor) -> Probe:
    """Everything a suspect of `net` will be sent.

    Args:
        net: the victim, in evaluation mode.
        own: (N, c, h, w) D_v: points and the images the UAP is fitted on.
        held_out: (M, c, h, w) PROBE: fooling rates and natural errors.
        held_out_labels: (M,) their true labels.
    """
    config = spec.uap
    points, views = _select(net, own, spec.fingerprint, spec.id)
    rng = torch_rng(spec.id, "uap")
    images = own[torch.randperm(len(own), generator=rng)[: config.n_images].to(own.device)]
    norm = float(own.flatten(1).norm(dim=1).mean())
    grid = [share * norm for share in config.xi_grid]
    paper = search_xi(net, images, held_out, grid, config.target_fooling, config.algorithm, config.passes, rng)
    blocks = {PAPER: in_turn(paper.v.cpu(), views)}
    described: dict[str, dict[str, float]] = {"1": _describe([paper])}
    for fraction in config.xi_fractions:
        uaps = make_uaps(net, images, held_out, paper.xi * fraction, config, rng)
        blocks[block_name("uap", fraction)] = in_turn(torch.cat([uap.v for uap in uaps]).cpu(), views)
        described[f"{fraction:g}"] = _describe(uaps)
    compared: dict[str, dict[str, float]] = {}
    if config.references:
        more, compared = _references(net, spec, points, views, images, held_out, paper.xi)
        blocks |= more
    natural, n_errors = natural_errors(
        ask(net, held_out), held_out_labels, spec.fingerprint.n_natural, spec.fingerprint.max_natural
    )
    info = {
        "uaps": described,
        **compared,
        "mean_image_norm": norm,
        "fooling_target_reached": paper.fooling >= config.target_fooling,
        "n_points": views.shape[1],
        "n_views": views.shape[0],
        "n_test_views": spec.fingerprint.n_test_views,
        "unique_points": len(points),
        "natural_errors": n_errors,
        "topped_up": len(natural) - n_errors,
        "round_to_8_bits": config.round_to_8_bits,
    }
    wrong = held_out[natural].cpu()
    return Probe(points.cpu(), views, blocks, wrong, ask(net, wrong).argmax(1), info)


def _references(
    net: Net, spec: ProbeSpec, points: Tensor, views: Tensor, images: Tensor, held_out: Tensor, xi: float
) -> tuple[dict[str, Block], dict[str, dict[str, float]]]:
    """Perturbations that the UAPs are compared with, and what describes them. `xi` is the paper's."""
    config = spec.uap
    classic = make_uap(net, images, held_out, xi, "deepfool", DEEPFOOL_PASSES, torch_rng(spec.id, DEEPFOOL))
    minimal = torch.cat([deepfool(net, batch).delta for batch in points.split(ANSWER_BATCH)]).cpu()
    boundary, reached = boundary_points(net, points[views[0]], torch_rng(spec.id, IPGUARD))
    blocks = {
        DEEPFOOL: in_turn(classic.v.cpu(), views),
        LAP_MINIMAL: per_point(minimal, views),
        IPGUARD: one_view((boundary - points[views[0]]).cpu(), views[0]),
    }
    # At the paper's own norm a single random vector stands beside its single UAP.
    for fraction, n in (*((fraction, config.n_uaps) for fraction in config.xi_fractions), (1.0, 1)):
        noise = torch.randn(n, *points.shape[1:], generator=torch_rng(spec.id, "random", fraction))
        blocks[block_name("random", fraction)] = in_turn(unit(noise) * xi * fraction, views)
        blocks[block_name("lap", fraction)] = per_point(unit(minimal) * xi * fraction, views)
    return blocks, {
        DEEPFOOL: _describe([classic]),
        LAP_MINIMAL: {"l2": float(minimal.flatten(1).norm(dim=1).mean())},
        IPGUARD: {"reached": float(reached.float().mean())},
    }


def in_turn(perturbations: Tensor, views: Tensor) -> Block:
    """View j moves its points by perturbation j mod K; a point that two views move alike is sent once."""
    k = (torch.arange(len(views)) % len(perturbations))[:, None].expand_as(views)
    n_points = int(views.max()) + 1
    pairs, gather = unique_points(k * n_points + views)
    return Block(perturbations, pairs % n_points, pairs // n_points, gather)


def per_point(perturbations: Tensor, views: Tensor) -> Block:
    """Every point has a perturbation of its own."""
    each = torch.arange(len(perturbations))
    return Block(perturbations, each, each, views)


def one_view(perturbations: Tensor, points: Tensor) -> Block:
    """`points` (n,), with a perturbation each, make a single view."""
    each = torch.arange(len(points))
    return Block(perturbations, points, each, each[None])


def unit(perturbations: Tensor) -> Tensor:
    """(K, c, h, w) scaled to l2 norm 1 each; zero stays zero."""
    return perturbations / perturbations.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)


def _describe(uaps: list[Uap]) -> dict[str, float]:
    """Means over a set of UAPs."""
    n = len(uaps)
    return {
        "n_uaps": n,
        "xi": uaps[0].xi,
        "l2": sum(float(uap.v.norm()) for uap in uaps) / n,
        "linf": sum(float(uap.v.abs().max()) for uap in uaps) / n,
        "fooling_rate": sum(uap.fooling for uap in uaps) / n,
        "fooling_rate_clipped": sum(uap.fooling_clipped for uap in uaps) / n,
    }


def _select(net: Net, own: Tensor, config: FingerprintConfig, seed: str) -> tuple[Tensor, Tensor]:
    """(P, c, h, w) points in order of first appearance over the views, and the views (V, n) into them."""
    if config.n_candidates is not None and config.n_candidates < len(own):
        chosen = torch.randperm(len(own), generator=torch_rng(seed, "candidates"))[: config.n_candidates]
        own = own[chosen.to(own.device)]
    features = layer(net, own, "features")
    logits = layer(net, features, "head")
    check_finite(logits, "victim")
    if config.representation == "logits":
        features = logits
    cluster, centres = clusters(features, config.n_points, seed_of(seed, "kmeans"))
    rng = torch_rng(seed, "views")
    if config.views == "whole_clusters":
        views = cluster_views(cluster, centres, config.n_views, rng)
    else:
        views = neighbour_views(logits, centres, config.n_views, rng)
    index, views = unique_points(views)
    return own[index.to(own.device)], views


def make_uaps(
    net: Net, images: Tensor, held_out: Tensor, xi: float, config: UapConfig, rng: torch.Generator
) -> list[Uap]:
    """UAPs of one radius that differ by their start, a random point of the sphere, and by the images they fit.

    From zero they would nearly all be the same direction (protocol 2.17: diversity from seeds and data subsets).
    """
    found = []
    for _ in range(config.n_uaps):
        part = images[torch.randperm(len(images), generator=rng)[: max(1, len(images) // 4)].to(images.device)]
        start = unit(torch.randn(images[:1].shape, generator=rng)) * xi
        passes = max(1, config.passes // 2)
        found.append(make_uap(net, part, held_out, xi, config.algorithm, passes, rng, start.to(images.device)))
    return found


def perturbed(probe: Probe, name: str, part: slice = slice(None)) -> Tensor:
    """The images (S, c, h, w) of one block, or a part of them: points plus perturbation, clipped to [0, 1]."""
    block = probe.blocks[name]
    return _as_taken(probe, (probe.points[block.point[part]] + block.perturbations[block.which[part]]).clamp(0.0, 1.0))


def sent(probe: Probe, name: str, part: slice = slice(None)) -> Tensor:
    """The images (S, c, h, w) of any block, or a part of them, as a suspect is sent them."""
    if name in (CLEAN, NATURAL):
        return _as_taken(probe, (probe.points if name == CLEAN else probe.natural)[part])
    return perturbed(probe, name, part)


def _as_taken(probe: Probe, images: Tensor) -> Tensor:
    """In 8 bits, where the suspect's API takes no more."""
    return from_8_bits(to_8_bits(images)) if probe.info["round_to_8_bits"] else images


def to_8_bits(images: Tensor) -> Tensor:
    """Images in [0, 1] as uint8."""
    return (images * 255).round().to(torch.uint8)


def from_8_bits(images: Tensor) -> Tensor:
    """uint8 images as float32 in [0, 1]: on the CPU, so that every model is asked the same bits."""
    return images.cpu().float().div_(255.0)


def n_images(probe: Probe, name: str, part: Literal["all", "test"]) -> int:
    """How many images of a block are sent: all, or the first ones, which the test views need."""
    if name == NATURAL:
        return len(probe.natural)
    gather = probe.views if name == CLEAN else probe.blocks[name].gather
    return int(gather[: probe.info["n_test_views"] if part == "test" else None].max()) + 1


def answer(model: nn.Module, probe: Probe, device: torch.device, part: Literal["all", "test"] = "all") -> Answers:
    """Ask `model` every unique image of `probe` once; for `test` those of the test views only.

    Those come first and in batches of their own, so that their answers are the same bits for either part.
    """

    def asked(name: str) -> Tensor:
        ends = (0, n_images(probe, name, "test"), n_images(probe, name, part))
        batches = [
            slice(start, min(start + ANSWER_BATCH, end))
            for begin, end in pairwise(ends)
            for start in range(begin, end, ANSWER_BATCH)
        ]
        found = torch.cat([ask(model, sent(probe, name, batch).to(device)) for batch in batches])
        check_finite(found, "answers")
        return found

    return Answers({name: asked(name) for name in (CLEAN, NATURAL, *probe.blocks)})


def as_format(probabilities: Tensor, fmt: Format) -> Tensor:
    """(Q, C) probabilities as an API of that kind gives them away.

    `prob`: as they are; `top<k>`: 0 outside the k largest, not renormalised (protocol 2.16); `hard`: one-hot labels.

    Raises:
        UserError: any other format.
    """
    if fmt == "prob":
        return probabilities
    if fmt == "hard":
        return F.one_hot(probabilities.argmax(1), probabilities.shape[1]).float()
    return top_k(probabilities, k_of(fmt))


def fingerprints(answers: Answers, views: Tensor, gather: Tensor | None, name: str, fmt: Format) -> Tensor:
    """(V, D) fingerprints in the order of Eq. 6: f(x1), f(x1 + v), ..., f(xn), f(xn + v).

    Args:
        answers: one model's.
        views: (V, n) into the block `clean`.
        gather: (V, n) into the block `name`; None for clean points only, where D = n C instead of 2 n C.
        name: a perturbed block.
        fmt: `prob`, `top<k>` or `hard`.
    """

    def of(block: str, index: Tensor) -> Tensor:
        known = answers.blocks[block]
        needed = int(index.max()) + 1
        assert needed <= len(known), (
            f"block {block}: {len(known)} answers, these views need {needed}: the model was asked the test views "
            "only and cannot train an encoder"
        )
        return as_format(known[:needed], fmt)[index]

    clean = of(CLEAN, views)
    return clean.flatten(1) if gather is None else torch.stack([clean, of(name, gather)], dim=2).flatten(1)
