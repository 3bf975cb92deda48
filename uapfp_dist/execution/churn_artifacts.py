"""Churn points and the labels given to them as artifacts: the names of their tensors and JSON keys."""

from collections.abc import Mapping

import torch
from torch import Tensor

from uapfp_dist.fingerprints.blocks import BlockKey
from uapfp_dist.fingerprints.churn import ChurnPoints
from uapfp_dist.storage.store import Artifact

_TENSORS = ("images", "labels", "committee", "base")


def churn_artifact(points: Mapping[BlockKey, ChurnPoints]) -> tuple[dict[str, Tensor], dict[str, dict[str, int]]]:
    """The points of every pool as tensors and JSON."""
    tensors = {f"{key.wire}/{name}": getattr(each, name) for key, each in points.items() for name in _TENSORS}
    tensors |= {f"{key.wire}/sources": each.sources for key, each in points.items() if each.sources is not None}
    numbers = {
        key.wire: {"pool_size": each.pool_size, "n_departures": each.n_departures} for key, each in points.items()
    }
    return tensors, numbers


def read_churn(artifact: Artifact) -> dict[BlockKey, ChurnPoints]:
    """The inverse of `churn_artifact`."""

    def points(wire: str, numbers: Mapping[str, int]) -> ChurnPoints:
        images, labels, committee, base = (artifact.tensors[f"{wire}/{name}"] for name in _TENSORS)
        sources = artifact.tensors.get(f"{wire}/sources")
        return ChurnPoints(images, labels, committee, base, numbers["pool_size"], numbers["n_departures"], sources)

    return {BlockKey.parse(wire): points(wire, numbers) for wire, numbers in artifact.info.items()}


def labels_artifact(labels: Mapping[BlockKey, Tensor]) -> dict[str, Tensor]:
    """(E,) labels as tensors."""
    return {key.wire: short(each) for key, each in labels.items()}


def short(labels: Tensor) -> Tensor:
    """int64 labels in two bytes, or in four where a class has a larger number than two hold."""
    fits = labels.max() <= torch.iinfo(torch.int16).max if labels.numel() else True
    return labels.to(torch.int16 if fits else torch.int32)


def read_labels(artifact: Artifact) -> dict[BlockKey, Tensor]:
    """The inverse of `labels_artifact`: int64."""
    return {BlockKey.parse(wire): each.long() for wire, each in artifact.tensors.items()}
