"""A pool and the labels given to it as artifacts: the names of their tensors."""

import torch
from torch import Tensor

from uapfp_dist.execution.churn_artifacts import short
from uapfp_dist.fingerprints.pool import Pool, PoolLabels
from uapfp_dist.fingerprints.sibling_points import SiblingPoints
from uapfp_dist.storage.store import Artifact


def pool_artifact(pool: Pool) -> dict[str, Tensor]:
    """A pool as tensors."""
    sources = {} if pool.sources is None else {"sources": pool.sources}
    return {"images": pool.images, "base": pool.base.to(torch.int32), **sources}


def read_pool(artifact: Artifact) -> Pool:
    """The inverse of `pool_artifact`."""
    tensors = artifact.tensors
    return Pool(tensors["images"], tensors["base"].long(), tensors.get("sources"))


def pool_labels_artifact(found: PoolLabels) -> dict[str, Tensor]:
    """Labels and margins as tensors."""
    return {"labels": short(found.labels), "margins": found.margins}


def read_pool_labels(artifact: Artifact) -> PoolLabels:
    """The inverse of `pool_labels_artifact`."""
    return PoolLabels(artifact.tensors["labels"].long(), artifact.tensors["margins"])


def sibling_points_artifact(points: SiblingPoints) -> dict[str, Tensor]:
    """The images of a sibling test as tensors."""
    return {"images": points.images, "index": points.index, "said": short(points.said)}


def read_sibling_points(artifact: Artifact) -> SiblingPoints:
    """The inverse of `sibling_points_artifact`."""
    tensors = artifact.tensors
    return SiblingPoints(tensors["images"], tensors["index"], tensors["said"].long())
