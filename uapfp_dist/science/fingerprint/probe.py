"""Make the probe of a victim, ask it of a model, gather fingerprints from the answers (paper Eq. 6)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uapfp_dist.science.blackbox import ask, layer
from uapfp_dist.science.fingerprint.selection import (
    centre_points,
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

PAPER = "uap_paper"
"""The block of the paper's single UAP."""


def block_name(perturbation: str, fraction: float) -> str:
    """The name of the answers to one kind of perturbation at one fraction of the paper's xi."""
    return f"{perturbation}@{fraction:g}"


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
    described = {"1": _describe([paper])}
    local = _local(net, points)
    for fraction in config.xi_fractions:
        uaps = make_uaps(net, images, held_out, paper.xi * fraction, config, rng)
        noise = torch.randn(len(uaps), *own.shape[1:], generator=torch_rng(spec.id, "random", fraction))
        blocks[block_name("uap", fraction)] = in_turn(torch.cat([uap.v for uap in uaps]).cpu(), views)
        blocks[block_name("random", fraction)] = in_turn(unit(noise) * paper.xi * fraction, views)
        blocks[block_name("lap", fraction)] = per_point(local * paper.xi * fraction, views)
        described[f"{fraction:g}"] = _describe(uaps)
    natural, n_errors = natural_errors(
        ask(net, held_out), held_out_labels, spec.fingerprint.n_natural, spec.fingerprint.max_natural
    )
    info = {
        "uaps": described,
        "mean_image_norm": norm,
        "fooling_target_reached": paper.fooling >= config.target_fooling,
        "n_points": views.shape[1],
        "n_views": views.shape[0],
        "unique_points": len(points),
        "natural_errors": n_errors,
        "topped_up": len(natural) - n_errors,
        "round_to_8_bits": config.round_to_8_bits,
    }
    wrong = held_out[natural].cpu()
    return Probe(points.cpu(), views, blocks, wrong, ask(net, wrong).argmax(1), info)


def in_turn(perturbations: Tensor, views: Tensor) -> Block:
    """View j moves its points by perturbation j mod K; a point that two views move alike is sent once."""
    k = (torch.arange(len(views)) % len(perturbations))[:, None].expand_as(views)
    n_points = int(views.max()) + 1
    pairs, gather = torch.unique(k * n_points + views, return_inverse=True)
    return Block(perturbations, pairs % n_points, pairs // n_points, gather)


def per_point(perturbations: Tensor, views: Tensor) -> Block:
    """Every point has a perturbation of its own."""
    each = torch.arange(len(perturbations))
    return Block(perturbations, each, each, views)


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
    logits = layer(net, own, "forward")
    features = logits if config.representation == "logits" else layer(net, own, "features")
    centres = centre_points(features, config.n_points, seed_of(seed, "kmeans"))
    index, views = unique_points(neighbour_views(logits, centres, config.n_views, torch_rng(seed, "views")))
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


def _local(net: Net, points: Tensor) -> Tensor:
    """(P, c, h, w) DeepFool directions of unit norm (protocol 2.13: rescaled to the UAP's norm)."""
    return unit(torch.cat([deepfool(net, batch).delta for batch in points.split(500)]).cpu())


def perturbed(probe: Probe, name: str) -> Tensor:
    """The images (S, c, h, w) of one block: points plus perturbation, clipped to [0, 1]."""
    block = probe.blocks[name]
    images = (probe.points[block.point] + block.perturbations[block.which]).clamp(0.0, 1.0)
    return (images * 255).round() / 255 if probe.info["round_to_8_bits"] else images


def answer(model: nn.Module, probe: Probe, device: torch.device) -> Answers:
    """Ask `model` every unique image of `probe` once."""
    sent = {"clean": probe.points, "natural": probe.natural}
    blocks = {name: ask(model, images.to(device)) for name, images in sent.items()}
    return Answers(blocks | {name: ask(model, perturbed(probe, name).to(device)) for name in probe.blocks})


def as_format(probabilities: Tensor, fmt: Format) -> Tensor:
    """(Q, C) probabilities as they are, or as one-hot labels: what an API of that kind gives away."""
    if fmt == "prob":
        return probabilities
    return F.one_hot(probabilities.argmax(1), probabilities.shape[1]).float()


def fingerprints(answers: Answers, views: Tensor, gather: Tensor | None, name: str, fmt: Format) -> Tensor:
    """(V, D) fingerprints in the order of Eq. 6: f(x1), f(x1 + v), ..., f(xn), f(xn + v).

    Args:
        answers: one model's.
        views: (V, n) into the block `clean`.
        gather: (V, n) into the block `name`; None for clean points only, where D = n C instead of 2 n C.
        name: a perturbed block.
        fmt: probabilities or one-hot labels.
    """
    clean = as_format(answers.blocks["clean"], fmt)[views]
    if gather is None:
        return clean.flatten(1)
    moved = as_format(answers.blocks[name], fmt)[gather]
    return torch.stack([clean, moved], dim=2).flatten(1)
