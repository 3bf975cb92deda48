"""The pool of the exact sibling test, and what models say to it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from uapfp_dist.data.jpeg import as_read
from uapfp_dist.fingerprints.churn import pool_changes
from uapfp_dist.models.blackbox import QUERY_BATCH, check_finite, predict_probabilities
from uapfp_dist.pixels import as_float, to_8_bits
from uapfp_dist.tasks.method_configs import ChurnConfig


@dataclass(frozen=True)
class Pool:
    """N images, as they are sent."""

    images: Tensor
    """(N, c, h, w) uint8."""
    base: Tensor
    """(N,) int64: of which image of PROBE each was made."""
    sources: Tensor | None = None
    """(N, c, h, w) uint8: the images whose JPEG files are read; None where no files are sent."""


@dataclass(frozen=True)
class PoolLabels:
    """What one model says to a pool of N images."""

    labels: Tensor
    """(N,) int64."""
    margins: Tensor
    """(N,) float32: largest minus second probability."""


def make_pool(probe_images: Tensor, config: ChurnConfig, seed: str) -> Pool:
    """PROBE and small geometric variants of its images, rounded to 8 bits, or as read from JPEG files.

    Args:
        probe_images: (n, c, h, w) in [0, 1]: no model trained on any of them.
        config: size and variants.
        seed: names the randomness.
    """
    n, everything = len(probe_images), slice(0, len(probe_images))
    changes = pool_changes(n, config, seed)
    sources = torch.cat([to_8_bits(change(probe_images, everything)) for change in changes])
    base, quality = torch.arange(n).repeat(len(changes)), config.jpeg_quality
    return Pool(as_read(sources, quality), base, None if quality is None else sources)


def pool_labels(model: nn.Module, pool: Pool) -> PoolLabels:
    """The labels and margins of `model`, on its device."""
    device = next(model.parameters()).device
    labels, margins = [], []
    for batch in pool.images.split(QUERY_BATCH):
        probabilities = predict_probabilities(model, as_float(batch.to(device)))
        check_finite(probabilities, "answers")
        top = probabilities.topk(2, dim=1)
        labels.append(probabilities.argmax(1))
        margins.append(top.values[:, 0] - top.values[:, 1])
    return PoolLabels(torch.cat(labels), torch.cat(margins))
