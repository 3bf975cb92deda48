"""A pool and the labels given to it as artifacts: the names of their tensors."""

import torch
from torch import Tensor

from uapfp_dist.fingerprints.pool import Pool, PoolLabels
from uapfp_dist.storage.store import Artifact


def pool_artifact(pool: Pool) -> dict[str, Tensor]:
    """A pool as tensors."""
    return {"images": pool.images, "base": pool.base.to(torch.int32)}


def read_pool(artifact: Artifact) -> Pool:
    """The inverse of `pool_artifact`."""
    return Pool(artifact.tensors["images"], artifact.tensors["base"].long())


def pool_labels_artifact(found: PoolLabels) -> dict[str, Tensor]:
    """Labels in as few bytes as hold any class."""
    return {"labels": found.labels.to(torch.int16), "margins": found.margins}


def read_pool_labels(artifact: Artifact) -> PoolLabels:
    """The inverse of `pool_labels_artifact`."""
    return PoolLabels(artifact.tensors["labels"].long(), artifact.tensors["margins"])
