"""A pool on simulated nodes."""

import io
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from fake_cluster import FakeCluster

from uapfp_dist.cluster import pool as pool_module
from uapfp_dist.cluster import worker_group as group_module
from uapfp_dist.cluster.capacity import fits
from uapfp_dist.cluster.pool import RayPool
from uapfp_dist.progress import Progress


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Makes a pool on simulated nodes with 16 CPUs and some GPUs each; a spec is its share."""

    def make(gpus: int, nodes: int = 1, share: Callable[[Any], float] = float, **options: Any) -> RayPool:
        cluster = FakeCluster(gpus, nodes)
        actors = SimpleNamespace(
            options=lambda num_gpus, **rest: SimpleNamespace(remote=lambda make_perform: cluster.make(num_gpus))
        )
        ray = SimpleNamespace(
            wait=cluster.wait,
            get=lambda reference: reference.answer(),
            kill=cluster.actors.remove,
            remote=lambda kind: actors,
        )
        monkeypatch.setattr(group_module, "ray", ray)
        monkeypatch.setattr(pool_module, "ray", ray)
        monkeypatch.setattr(group_module, "REFRESH_SECONDS", -1.0)
        room = partial(fits, {"CPU": 16, "GPU": gpus})
        monkeypatch.setattr(group_module, "capacity", lambda share: dict.fromkeys(cluster.nodes, room(share)))
        monkeypatch.setattr(time, "monotonic", lambda: cluster.now)
        monkeypatch.setattr(time, "sleep", cluster.sleep)
        unused: Any = None
        pool: Any = RayPool(unused, share, lambda spec: 60.0, progress=Progress(0, io.StringIO()), **options)
        pool.cluster = cluster
        return pool

    return make
