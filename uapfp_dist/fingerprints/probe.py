"""Make the probe of a victim: UAPs, points, views, natural errors (paper Sections 4.2 and 4.3)."""

from dataclasses import replace

import torch
from torch import Tensor

from uapfp_dist.fingerprints.blocks import DEEPFOOL, IPGUARD, LAP, LAP_MINIMAL, PAPER, RANDOM, UAP, BlockKey
from uapfp_dist.fingerprints.ipguard import boundary_points
from uapfp_dist.fingerprints.probe_data import Block, Probe, ProbeSummary, UapSet
from uapfp_dist.fingerprints.querying import with_files_read
from uapfp_dist.fingerprints.selection import cluster_views, clusters, natural_errors, neighbour_views, unique_points
from uapfp_dist.models.blackbox import QUERY_BATCH, batched_outputs, check_finite, predict_probabilities
from uapfp_dist.models.net import Net
from uapfp_dist.perturbations.deepfool import deepfool
from uapfp_dist.perturbations.uap import Uap, make_uap, search_xi
from uapfp_dist.rng import seed_of, torch_rng
from uapfp_dist.tasks.method_configs import FingerprintConfig, UapConfig
from uapfp_dist.tasks.specs import ProbeSpec, ProbeTwinSpec

DEEPFOOL_PASSES = 2
"""Passes of that algorithm: each costs as much as ten of the other, and fooling has levelled off after two."""


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
    described = {1.0: _describe([paper])}
    for fraction in config.xi_fractions:
        uaps = make_uaps(net, images, held_out, paper.xi * fraction, config, rng)
        blocks[BlockKey(UAP, fraction)] = in_turn(torch.cat([uap.v for uap in uaps]).cpu(), views)
        described[fraction] = _describe(uaps)
    natural, n_errors = natural_errors(
        predict_probabilities(net, held_out), held_out_labels, spec.fingerprint.n_natural, spec.fingerprint.max_natural
    )
    summary = ProbeSummary(
        uaps=described,
        mean_image_norm=norm,
        fooling_target_reached=paper.fooling_rate >= config.target_fooling,
        natural_errors=n_errors,
        topped_up=len(natural) - n_errors,
    )
    wrong = held_out[natural].cpu()
    labels = predict_probabilities(net, wrong).argmax(1)
    n_test_views = spec.fingerprint.n_test_views
    probe = Probe(
        points.cpu(),
        views,
        blocks,
        wrong,
        labels,
        n_test_views,
        config.round_to_8_bits,
        summary,
        jpeg_quality=config.jpeg_quality,
    )
    if config.references:
        probe = _with_references(probe, net, spec, points, images, held_out, paper.xi)
    return with_files_read(probe)


def _with_references(
    probe: Probe, net: Net, spec: ProbeSpec, points: Tensor, images: Tensor, held_out: Tensor, xi: float
) -> Probe:
    """The same with the perturbations that UAPs are compared with; `xi` is the paper's."""
    views = probe.views
    config = spec.uap
    classic = make_uap(net, images, held_out, xi, "deepfool", DEEPFOOL_PASSES, torch_rng(spec.id, DEEPFOOL.wire))
    minimal = torch.cat([deepfool(net, batch).delta for batch in points.split(QUERY_BATCH)]).cpu()
    boundary, reached = boundary_points(net, points[views[0]], torch_rng(spec.id, IPGUARD.wire))
    blocks = {
        DEEPFOOL: in_turn(classic.v.cpu(), views),
        LAP_MINIMAL: per_point(minimal, views),
        IPGUARD: one_view((boundary - points[views[0]]).cpu(), views[0]),
    }
    # At the paper's own norm a single random vector stands beside its single UAP.
    for fraction, n in (*((fraction, config.n_uaps) for fraction in config.xi_fractions), (1.0, 1)):
        noise = torch.randn(n, *points.shape[1:], generator=torch_rng(spec.id, "random", fraction))
        blocks[BlockKey(RANDOM, fraction)] = in_turn(unit(noise) * xi * fraction, views)
        blocks[BlockKey(LAP, fraction)] = per_point(unit(minimal) * xi * fraction, views)
    summary = replace(
        probe.summary,
        deepfool=_describe([classic]),
        lap_minimal_l2=float(minimal.flatten(1).norm(dim=1).mean()),
        ipguard_reached=float(reached.float().mean()),
    )
    return replace(probe, blocks=probe.blocks | blocks, summary=summary)


def make_probe_twin(net: Net, probe: Probe, spec: ProbeTwinSpec, images: Tensor) -> Probe:
    """The same UAPs and random vectors on points that nobody trained on; without natural errors.

    Args:
        net: the victim, in evaluation mode.
        probe: whose perturbations are taken.
        images: (M, c, h, w) PROBE.
    """
    config = spec.probe.fingerprint
    points, views = _select(net, images, replace(config, n_candidates=None), spec.id)
    radii = [key.radius for key in probe.blocks if key.kind == UAP]
    keys = [key for kind in (UAP, RANDOM) for radius in radii if (key := BlockKey(kind, radius)) in probe.blocks]
    blocks = {key: in_turn(probe.blocks[key].perturbations, views) for key in keys}
    nothing = images[:0].cpu(), torch.zeros(0, dtype=torch.int64)
    taken = probe.round_to_8_bits
    twin = Probe(points.cpu(), views, blocks, *nothing, probe.n_test_views, taken, jpeg_quality=probe.jpeg_quality)
    return with_files_read(twin)


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


def _describe(uaps: list[Uap]) -> UapSet:
    """Means over a set of UAPs."""
    n = len(uaps)
    return UapSet(
        n_uaps=n,
        xi=uaps[0].xi,
        l2=sum(float(uap.v.norm()) for uap in uaps) / n,
        linf=sum(float(uap.v.abs().max()) for uap in uaps) / n,
        fooling_rate=sum(uap.fooling_rate for uap in uaps) / n,
        fooling_rate_clipped=sum(uap.fooling_rate_clipped for uap in uaps) / n,
    )


def _select(net: Net, own: Tensor, config: FingerprintConfig, seed: str) -> tuple[Tensor, Tensor]:
    """(P, c, h, w) points in order of first appearance over the views, and the views (V, n) into them."""
    if config.n_candidates is not None and config.n_candidates < len(own):
        chosen = torch.randperm(len(own), generator=torch_rng(seed, "candidates"))[: config.n_candidates]
        own = own[chosen.to(own.device)]
    features = batched_outputs(net, own, "features")
    logits = batched_outputs(net, features, "head")
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
