"""How long a node may take to start follows from how long the images took to read, also once they are cached."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from uapfp_dist.cluster import pool as pool_module
from uapfp_dist.cluster.session import ClusterResources
from uapfp_dist.cluster.worker_group import START_SECONDS
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.config.schema import DataConfig
from uapfp_dist.data import Dataset
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.launch import images
from uapfp_dist.launch.images import load_images, reading_seconds
from uapfp_dist.launch.workers import ray_pool
from uapfp_dist.progress import Progress
from uapfp_dist.storage.store import Store

Read = Callable[[float], None]


@pytest.fixture
def read(digits: Dataset, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Reads the images, which takes so many seconds."""

    def read_within(seconds: float) -> None:
        now = iter([0.0, seconds])

        def load(*arguments: object) -> Dataset:
            return digits

        monkeypatch.setattr(images, "load", load)
        with monkeypatch.context() as patched:
            patched.setattr(time, "perf_counter", lambda: next(now))
            load_images(DataConfig("digits"), resolve(RuntimeConfig(storage=str(tmp_path))))

    return read_within


def test_a_long_reading_is_noted(read: Read, digits: Dataset, own_cache: Path) -> None:
    read(20.0)
    assert reading_seconds(digits.digest) == 0.0
    read(2000.0)
    read(3.0)  # from the cache
    assert reading_seconds(digits.digest) == 2000.0
    for note in own_cache.glob("*.seconds"):
        note.write_text("torn")
    assert reading_seconds(digits.digest) == 0.0


def test_a_cache_that_cannot_be_written_is_no_error(
    read: Read, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("UAPFP_CACHE", f"{tmp_path}/file/cache")
    read(2000.0)
    assert reading_seconds(digits.digest) == 0.0


class StartedError(Exception):
    """The pool has its arguments."""


@pytest.mark.parametrize(("seconds", "limit"), [(100.0, START_SECONDS), (2000.0, 6000.0)])
def test_workers_have_three_times_as_long(
    seconds: float, limit: float, read: Read, digits_plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pool(*arguments: object) -> None:
        raise StartedError(arguments[-1])

    read(seconds)
    monkeypatch.setattr(pool_module, "RayPool", pool)
    runtime, machine = RuntimeConfig(storage=str(tmp_path)), ClusterResources(2, 0.0, elastic=True)
    paths = resolve(runtime)
    with (
        pytest.raises(StartedError, match=f"^{limit}$"),
        ray_pool(machine, runtime, paths, Store(str(tmp_path)), digits_plan.data, Progress(workers=0)),
    ):
        pass
