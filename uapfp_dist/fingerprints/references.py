"""What UAPs are compared with beyond a probe's own blocks: IPGuard as published, and twins on points of PROBE."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from uapfp_dist.errors import PermanentError
from uapfp_dist.fingerprints.blocks import (
    DEEPFOOL,
    IPGUARD_K,
    LAP,
    LAP_MINIMAL,
    PAPER,
    RANDOM_PAPER,
    UAP,
    BlockKey,
)
from uapfp_dist.fingerprints.ipguard_targets import targeted_points
from uapfp_dist.fingerprints.probe import in_turn, one_view, per_point, unit
from uapfp_dist.fingerprints.probe_data import Block, Probe, ProbeSummary
from uapfp_dist.fingerprints.querying import with_files_read
from uapfp_dist.models.blackbox import QUERY_BATCH
from uapfp_dist.perturbations.deepfool import deepfool
from uapfp_dist.rng import torch_rng


@dataclass(frozen=True)
class _Made:
    """IPGuard's blocks, with the share of images that reached their label at each k."""

    blocks: dict[BlockKey, Block] = field(default_factory=dict)
    reached: dict[float, float] = field(default_factory=dict)


def make_references(net: nn.Module, probe: Probe, ks: Sequence[float], seed: str, truth: Tensor) -> Probe:
    """References on the points of view 0 of the victim's probe.

    Args:
        net: the victim, in evaluation mode.
        probe: the victim's.
        ks: leads that IPGuard's points shall have.
        seed: of the labels that are wanted.
        truth: (E,) the true labels of the probe's natural errors.

    Returns:
        A probe of one view, with a block for every k at which a point was found.

    Raises:
        PermanentError: none at any.
    """
    points = probe.points[probe.views[0]]
    each = torch.arange(len(points))
    made = _ipguard(net, points, each, ks, seed)
    found = replace(_empty(probe, made), points=points, views=each[None], n_test_views=1, natural_truth=truth)
    return with_files_read(found)


def make_twin_references(net: nn.Module, probe: Probe, twin: Probe, ks: Sequence[float], seed: str) -> Probe:
    """References on the points of a twin: the blocks that a probe has and its twin lacks, made for those points.

    Args:
        net: the victim, in evaluation mode.
        probe: the victim's; without references, what takes those is left out.
        twin: its twin on points of PROBE.
        ks: as above.
        seed: as above.

    Returns:
        A probe with the points and views of `twin`.

    Raises:
        PermanentError: as above.
    """
    views, points, xi = twin.views, twin.points, probe.summary.uaps[1.0].xi
    device = next(net.parameters()).device
    minimal = torch.cat([deepfool(net, batch.to(device)).delta.cpu() for batch in points.split(QUERY_BATCH)])
    made = _ipguard(net, points[views[0]], views[0], ks, seed)
    universal = [key for key in (PAPER, DEEPFOOL, RANDOM_PAPER) if key in probe.blocks]
    blocks = {key: in_turn(probe.blocks[key].perturbations, views) for key in universal}
    blocks[LAP_MINIMAL] = per_point(minimal, views)
    for fraction in (*(key.radius for key in probe.blocks if key.kind == UAP and key.radius is not None), 1.0):
        blocks[BlockKey(LAP, fraction)] = per_point(unit(minimal) * xi * fraction, views)
    return with_files_read(replace(_empty(twin, made), points=points, views=views, blocks=blocks | made.blocks))


def true_labels_of(images: Tensor, among: Tensor, labels: Tensor) -> Tensor:
    """(E,) labels of `images` (E, c, h, w), each of which is one of `among` (M, c, h, w), bit by bit.

    Raises:
        PermanentError: one is not.
    """
    known: Mapping[bytes, int] = {_bytes(image): i for i, image in reversed(list(enumerate(among.cpu())))}
    found = [known.get(_bytes(image)) for image in images.cpu()]
    if None in found:
        raise PermanentError("natural errors: expected images of PROBE, got others; give every node the same data")
    return labels[torch.tensor([i for i in found if i is not None], dtype=torch.int64)].cpu()


def _bytes(image: Tensor) -> bytes:
    return image.contiguous().numpy().tobytes()


def _ipguard(net: nn.Module, points: Tensor, index: Tensor, ks: Sequence[float], seed: str) -> _Made:
    """Blocks of the points (n, c, h, w) that reached their label; `index` (n,) numbers them."""
    made, device = _Made(), next(net.parameters()).device
    for k in ks:
        key = BlockKey(IPGUARD_K, k)
        found = targeted_points(net, points.to(device), k, torch_rng(seed, key.wire))
        reached = found.reached.cpu()
        made.reached[k] = float(reached.float().mean())
        if bool(reached.any()):
            made.blocks[key] = one_view((found.images.cpu() - points)[reached], index[reached])
    if not made.blocks:
        raise PermanentError(f"IPGuard: expected a point with another label at a lead of {min(ks):g}, found none")
    return made


def _empty(probe: Probe, made: _Made) -> Probe:
    """IPGuard's blocks in a probe without natural errors; points and views are still those of `probe`."""
    summary = ProbeSummary(ipguard_targets=made.reached)
    natural, labels = probe.natural[:0], probe.natural_labels[:0]
    return replace(probe, blocks=made.blocks, summary=summary, natural=natural, natural_labels=labels)
