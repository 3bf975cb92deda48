"""Churn points: images on which a victim disagrees with its siblings (predictive churn, Milani Fard et al. 2016).

A sibling shares everything with the victim but the seed. Where their labels differ, the victim's comes from its run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from uapfp_dist.data.jpeg import as_read
from uapfp_dist.errors import PermanentError
from uapfp_dist.fingerprints.blocks import CHURN, CHURN_NATURAL, CHURN_RANDOM, CHURN_UAP, RANDOM, UAP, BlockKey
from uapfp_dist.fingerprints.probe_data import Probe
from uapfp_dist.fingerprints.variants import Variants
from uapfp_dist.models.blackbox import QUERY_BATCH, check_finite, predict_probabilities
from uapfp_dist.pixels import as_float, to_8_bits
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.method_configs import ChurnConfig

Changed = Callable[[Tensor, slice | Tensor], Tensor]
"""(B, c, h, w) images in [0, 1], and which of all they are, to what is sent in their place."""


class NoChurnError(PermanentError):
    """The victim says what its siblings say, wherever it is compared with them."""


@dataclass(frozen=True)
class ChurnPoints:
    """Churn points of one pool, those of the victim's largest margin first; E images, m siblings."""

    images: Tensor
    """(E, c, h, w) uint8, as models are asked."""
    labels: Tensor
    """(E,) int64: what the victim says."""
    committee: Tensor
    """(E, m) int64: what each sibling says."""
    base: Tensor
    """(E,) int64: of which image of PROBE each was made."""
    pool_size: int
    """Images among which they were found."""
    n_departures: int
    """Of those, to how many at most `largest_share` of the committee gives the victim's label."""
    sources: Tensor | None = None
    """(E, c, h, w) uint8: the images whose JPEG files are read; None where no files are sent."""

    @property
    def n_bases(self) -> int:
        """Images of PROBE of which the points were made."""
        return len(self.base.unique())


def find_churn(
    victim: nn.Module, siblings: Sequence[nn.Module], probe_images: Tensor, config: ChurnConfig, seed: str
) -> ChurnPoints:
    """The churn points of the main pool: PROBE and small geometric variants of its images.

    Args:
        victim: gives logits, as the siblings do.
        siblings: the committee.
        probe_images: (N, c, h, w) in [0, 1]: no model trained on any of them.
        config: pool and selection.
        seed: names the randomness of the variants.

    Raises:
        NoChurnError: there is no such image.
    """
    changes = pool_changes(len(probe_images), config, seed)
    limits = config.largest_share, config.candidates_per_image, config.max_points
    found = _points(victim, siblings, probe_images, changes, *limits, config.jpeg_quality)
    if not len(found.images):
        raise NoChurnError(
            f"churn: expected images on which the victim disagrees with its {len(siblings)} siblings, found none among "
            f"{found.pool_size}; take a larger pool or stronger variants, or siblings of a lower gate"
        )
    return found


def pool_changes(n: int, config: ChurnConfig, seed: str) -> list[Changed]:
    """What makes the main pool of `n` images: each as it is, then under small random geometry."""
    n_variants = min(config.max_variants, max(0, -(-config.pool_size // n) - 1))
    drawn = (Variants.draw(n, config, torch_rng(seed, "variants", i)) for i in range(n_variants))
    return [_unchanged, *(variants.apply for variants in drawn)]


def find_twins(
    victim: nn.Module, siblings: Sequence[nn.Module], probe_images: Tensor, probe: Probe | None, config: ChurnConfig
) -> dict[BlockKey, ChurnPoints]:
    """Churn points of other pools, as far as there are any: PROBE as it is, moved by UAPs, moved by random vectors.

    Args:
        probe: whose UAPs and random vectors, of the same norms and numbers, move the images; None: neither pool.

    Returns:
        at most `n_points` points of each.
    """
    pools: dict[BlockKey, list[Changed]] = {CHURN_NATURAL: [_unchanged]}
    if probe is not None:
        pools |= {CHURN_UAP: _moves(probe, UAP), CHURN_RANDOM: _moves(probe, RANDOM)}
    limits = config.largest_share, config.per_image, config.n_points
    quality = config.jpeg_quality
    found = {key: _points(victim, siblings, probe_images, changes, *limits, quality) for key, changes in pools.items()}
    return {key: points for key, points in found.items() if len(points.images)}


def _unchanged(images: Tensor, part: slice | Tensor) -> Tensor:
    return images.cpu()


def _moves(probe: Probe, kind: str) -> list[Changed]:
    """One change for every vector of a kind, but the paper's single one, which UAPs of these radii have not."""
    radii = [key.radius for key in probe.blocks if key.kind == UAP]
    vectors = torch.cat([probe.blocks[BlockKey(kind, radius)].perturbations for radius in radii])

    def moved(vector: Tensor) -> Changed:
        return lambda images, part: (images.cpu() + vector).clamp(0.0, 1.0)

    return [moved(vector) for vector in vectors]


@dataclass(frozen=True)
class _Disagreements:
    """Images of a pool on which the victim disagrees with its siblings; K of them."""

    images: Tensor
    """(K, c, h, w) uint8, as models are asked."""
    sources: Tensor
    """(K, c, h, w) uint8: the same before compression."""
    base: Tensor
    """(K,) int64: of which image."""
    labels: Tensor
    """(K,) int64."""
    margins: Tensor
    """(K,) float32: the victim's largest minus its second probability."""
    committee: Tensor
    """(K, m) int64."""


def _points(
    victim: nn.Module,
    siblings: Sequence[nn.Module],
    images: Tensor,
    changes: Sequence[Changed],
    largest_share: float,
    per_image: int,
    most: int,
    jpeg_quality: int | None,
) -> ChurnPoints:
    """The churn points of the pool of all changes of all images."""
    found = _disagreements(victim, siblings, images, changes, largest_share, jpeg_quality)
    whole = _Disagreements(*map(torch.cat, zip(*(vars(part).values() for part in found), strict=True)))
    chosen = choose_points(whole.margins, whole.base, per_image)[:most]
    return ChurnPoints(
        images=whole.images[chosen],
        labels=whole.labels[chosen],
        committee=whole.committee[chosen],
        base=whole.base[chosen],
        pool_size=len(changes) * len(images),
        n_departures=len(whole.base),
        sources=None if jpeg_quality is None else whole.sources[chosen],
    )


def _disagreements(
    victim: nn.Module,
    siblings: Sequence[nn.Module],
    images: Tensor,
    changes: Sequence[Changed],
    largest_share: float,
    jpeg_quality: int | None,
) -> Iterator[_Disagreements]:
    """Batch by batch."""
    device = next(victim.parameters()).device
    for change in changes:
        for start in range(0, len(images), QUERY_BATCH):
            part = slice(start, min(start + QUERY_BATCH, len(images)))
            sources = to_8_bits(change(images[part], part))
            in_8_bits = as_read(sources, jpeg_quality)
            sent = as_float(in_8_bits).to(device)
            probabilities = predict_probabilities(victim, sent)
            check_finite(probabilities, "victim")
            top = probabilities.topk(2, dim=1).values
            labels = probabilities.argmax(1)
            committee = torch.stack([_labels_of_sibling(sibling, sent) for sibling in siblings], dim=1)
            share = (committee == labels[:, None]).double().mean(1)
            disagrees = (share <= largest_share + 1e-9).nonzero().flatten()
            yield _Disagreements(
                in_8_bits[disagrees],
                sources[disagrees],
                start + disagrees,
                labels[disagrees],
                (top[:, 0] - top[:, 1])[disagrees],
                committee[disagrees],
            )


def _labels_of_sibling(sibling: nn.Module, images: Tensor) -> Tensor:
    """(B,) int64 labels; NaN would be the label 0, with which the victim nearly always disagrees."""
    probabilities = predict_probabilities(sibling, images)
    check_finite(probabilities, "sibling")
    return probabilities.argmax(1)


def choose_points(margins: Tensor, base: Tensor, per_image: int) -> Tensor:
    """Those of largest margin, at most `per_image` of one image.

    Args:
        margins: (K,) of the victim.
        base: (K,) int64: the image that each was made of.

    Returns:
        indices, by falling margin; equal ones in their order.
    """
    order = margins.argsort(descending=True, stable=True)
    return order[is_first_of_image(base[order], per_image)]


def is_first_of_image(base: Tensor, per_image: int) -> Tensor:
    """(K,) bool: of (K,) int64 images, whether each is among the first `per_image` of its number."""
    by_base = base.argsort(stable=True)
    ordered = base[by_base]
    rank = torch.empty_like(by_base)
    rank[by_base] = torch.arange(len(by_base)) - torch.searchsorted(ordered, ordered)
    return rank < per_image


def churn_labels(model: nn.Module, points: Mapping[BlockKey, ChurnPoints]) -> dict[BlockKey, Tensor]:
    """(E,) int64 labels of `model` on the points of every pool."""
    device = next(model.parameters()).device

    def labels(images: Tensor) -> Tensor:
        found = [predict_probabilities(model, as_float(batch.to(device))) for batch in images.split(QUERY_BATCH)]
        probabilities = torch.cat(found)
        check_finite(probabilities, "answers")
        return probabilities.argmax(1)

    return {key: labels(each.images) for key, each in points.items()}


def all_points(
    victim: nn.Module,
    siblings: Sequence[nn.Module],
    probe_images: Tensor,
    probe: Probe | None,
    config: ChurnConfig,
    seed: str,
) -> dict[BlockKey, ChurnPoints]:
    """Those of the main pool and, where `config` asks for them, of the others.

    Raises:
        NoChurnError: see `find_churn`.
    """
    found = {CHURN: find_churn(victim, siblings, probe_images, config, seed)}
    return found | (find_twins(victim, siblings, probe_images, probe, config) if config.twins else {})
