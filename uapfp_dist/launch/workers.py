"""Workers on Ray."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from uapfp_dist.config.runtime import ResolvedPaths, RuntimeConfig, gpu_shares
from uapfp_dist.errors import UserError
from uapfp_dist.execution.context import OWNER_SECONDS
from uapfp_dist.launch.images import reading_seconds
from uapfp_dist.progress import Progress
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.pool import Pool
from uapfp_dist.tasks.specs import DataSpec

HIDES_ALL = ("", "-1", "none", "nodevfiles")
"""Values of CUDA_VISIBLE_DEVICES under which no GPU is seen."""
OWNER_SHARE = 0.9
"""Of the time that a spec may take, for an owner's training function."""
READINGS = 3.0
"""As many times as long as this machine took to read the images another one may take."""


def own_device(runtime: RuntimeConfig) -> torch.device:
    """Where work is done that stays in this process: a GPU if there is one, unless workers are to have none."""
    on_gpu = runtime.gpus_per_worker != 0 and torch.cuda.is_available()
    return torch.device("cuda" if on_gpu else "cpu")


def default_auth_mode(address: str | None) -> None:
    """Before Ray is imported: a local session needs no token, a cluster decides for itself."""
    from uapfp_dist.cluster.address import chosen_address

    if chosen_address(address).value is None:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")


@contextmanager
def ray_pool(
    cluster: Any,
    runtime: RuntimeConfig,
    paths: ResolvedPaths,
    store: Store,
    data: DataSpec,
    progress: Progress,
) -> Iterator[Pool]:
    """Workers on Ray; each checks at its start that it has the same storage and images as this process.

    Args:
        cluster: its `ClusterResources`, which come with an import of Ray.
        runtime: number of workers, GPU shares, time limit.
        paths: storage and images.
        store: the storage as this process sees it.
        data: the images as this process sees them.
        progress: what the pool reports to.
    """
    from uapfp_dist.cluster.capacity import shares
    from uapfp_dist.cluster.pool import RayPool
    from uapfp_dist.cluster.spec_resources import seconds_for  # Ray takes seconds to import
    from uapfp_dist.cluster.worker import open_context
    from uapfp_dist.cluster.worker_group import START_SECONDS

    marker, owner_seconds = store.write_marker(), owner_seconds_of(runtime)
    opening = partial(open_context, paths.storage, paths.data_root, marker, data, owner_seconds)
    _check_visible_gpus(cluster, runtime)
    share = shares(cluster, runtime.workers, runtime.gpus_per_worker, gpu_shares(runtime))
    limit = runtime.spec_timeout
    limits = seconds_for if limit is None else lambda spec: limit
    start_seconds = max(START_SECONDS, READINGS * reading_seconds(data.digest))
    pool = RayPool(opening, share, limits, runtime.workers, cluster.elastic, progress, start_seconds)
    try:
        yield pool
    finally:
        pool.close()


def owner_seconds_of(runtime: RuntimeConfig) -> float:
    """After which an owner's training function counts as hung: before its worker does, so that it is named."""
    return OWNER_SECONDS if runtime.spec_timeout is None else OWNER_SHARE * runtime.spec_timeout


def _check_visible_gpus(cluster: Any, runtime: RuntimeConfig) -> None:
    """A variable may hide the GPUs that are asked for from a Ray of this job's own."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hidden = visible is not None and visible.strip().lower() in HIDES_ALL
    if hidden and not cluster.gpus and not cluster.elastic and (runtime.gpus_per_worker or gpu_shares(runtime)):
        raise UserError(
            f"expected GPUs for the workers, CUDA_VISIBLE_DEVICES={visible!r} hides all of them; unset that variable, "
            "or leave the shares of GPUs out",
            argument="gpus_per_worker" if runtime.gpus_per_worker else "gpu_shares",
        )
