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
from uapfp_dist.types import Answers, FingerprintConfig, Format, Probe, ProbeSpec, UapConfig

PERTURBATIONS = ("uap", "random", "lap")


def block(perturbation: str, fraction: float) -> str:
    """The name of the answers to one perturbation at one fraction of the paper's xi."""
    return f"{perturbation}@{fraction:g}"


def make_probe(net: Net, spec: ProbeSpec, own: Tensor, held_out: Tensor, held_out_labels: Tensor) -> Probe:
    """Everything a suspect of `net` will be sent.

    Args:
        net: the victim, in evaluation mode.
        own: (N, c, h, w) D_v: points and the images the UAP is fitted on.
        held_out: (M, c, h, w) PROBE: fooling rates and natural errors.
        held_out_labels: (M,) their true labels.
    """
    points, views = _select(net, own, spec.fingerprint, spec.id)
    uaps = make_uaps(net, own, held_out, spec.uap, spec.id)
    perturbations: dict[str, Tensor] = {}
    direction = torch.randn(own[:1].shape, generator=torch_rng(spec.id, "random"))
    local = _local(net, points)
    for fraction, uap in uaps.items():
        norm = float(uap.v.norm())
        perturbations[block("uap", fraction)] = uap.v.cpu()
        perturbations[block("random", fraction)] = direction * (norm / direction.norm())
        perturbations[block("lap", fraction)] = local * norm
    natural, n_errors = natural_errors(
        ask(net, held_out), held_out_labels, spec.fingerprint.n_natural, spec.fingerprint.max_natural
    )
    info = {
        "uaps": {f"{fraction:g}": _describe(uap) for fraction, uap in uaps.items()},
        "mean_image_norm": float(own.flatten(1).norm(dim=1).mean()),
        "fooling_target_reached": uaps[1.0].fooling >= spec.uap.target_fooling,
        "n_points": views.shape[1],
        "n_views": views.shape[0],
        "unique_points": len(points),
        "natural_errors": n_errors,
        "topped_up": len(natural) - n_errors,
        "round_to_8_bits": spec.uap.round_to_8_bits,
    }
    images = held_out[natural].cpu()
    labels = ask(net, images).argmax(1)
    return Probe(points.cpu(), views, perturbations, images, labels, info)


def _describe(uap: Uap) -> dict[str, float]:
    return {
        "xi": uap.xi,
        "l2": float(uap.v.norm()),
        "linf": float(uap.v.abs().max()),
        "fooling_rate": uap.fooling,
        "fooling_rate_clipped": uap.fooling_clipped,
    }


def _select(net: Net, own: Tensor, config: FingerprintConfig, seed: str) -> tuple[Tensor, Tensor]:
    logits = layer(net, own, "forward")
    features = logits if config.representation == "logits" else layer(net, own, "features")
    centres = centre_points(features, config.n_points, seed_of(seed, "kmeans"))
    index, views = unique_points(neighbour_views(logits, centres, config.n_views, torch_rng(seed, "views")))
    return own[index.to(own.device)], views


def make_uaps(net: Net, own: Tensor, held_out: Tensor, config: UapConfig, seed: str) -> dict[float, Uap]:
    """The paper's UAP (fraction 1) and those at smaller radii."""
    rng = torch_rng(seed, "uap")
    images = own[torch.randperm(len(own), generator=rng)[: config.n_images].to(own.device)]
    norm = float(own.flatten(1).norm(dim=1).mean())
    grid = [share * norm for share in config.xi_grid]
    full = search_xi(net, images, held_out, grid, config.target_fooling, config.algorithm, config.passes, rng)
    found = {1.0: full}
    for fraction in config.xi_fractions:
        if fraction != 1.0:
            xi = full.xi * fraction
            found[fraction] = make_uap(net, images, held_out, xi, config.algorithm, config.passes, rng)
    return found


def _local(net: Net, points: Tensor) -> Tensor:
    """(P, c, h, w) DeepFool directions of unit norm (protocol 2.13: rescaled to the UAP's norm)."""
    delta = torch.cat([deepfool(net, batch).delta for batch in points.split(500)]).cpu()
    return delta / delta.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)


def perturbed(probe: Probe, name: str) -> Tensor:
    """The images (P, c, h, w) of one block: points plus perturbation, clipped to [0, 1]."""
    if name == "clean":
        return probe.points
    images = (probe.points + probe.perturbations[name]).clamp(0.0, 1.0)
    return (images * 255).round() / 255 if probe.info["round_to_8_bits"] else images


def answer(model: nn.Module, probe: Probe, device: torch.device) -> Answers:
    """Ask `model` every unique image of `probe` once."""
    blocks = {"natural": ask(model, probe.natural.to(device))}
    for name in ("clean", *probe.perturbations):
        blocks[name] = ask(model, perturbed(probe, name).to(device))
    return Answers(blocks)


def as_format(probabilities: Tensor, fmt: Format) -> Tensor:
    """(Q, C) probabilities as they are, or as one-hot labels: what an API of that kind gives away."""
    if fmt == "prob":
        return probabilities
    return F.one_hot(probabilities.argmax(1), probabilities.shape[1]).float()


def fingerprints(answers: Answers, views: Tensor, name: str, fmt: Format) -> Tensor:
    """(V, D) fingerprints in the order of Eq. 6: f(x1), f(x1 + v), ..., f(xn), f(xn + v).

    For the block `clean` there is no x + v: D = n C instead of 2 n C.
    """
    clean = as_format(answers.blocks["clean"], fmt)[views]
    if name == "clean":
        return clean.flatten(1)
    moved = as_format(answers.blocks[name], fmt)[views]
    return torch.stack([clean, moved], dim=2).flatten(1)


def unique_queries(views: Tensor, name: str) -> int:
    """Images a suspect is sent for the fingerprints of `views` (V, n) with one block."""
    unique = len(torch.unique(views))
    return unique if name == "clean" else 2 * unique
