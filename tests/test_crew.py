"""Who sits on the GPUs, on a cluster that is only imagined: workers that fit stand at once, others are pending."""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from uapfp_dist.cluster import crew as crew_module
from uapfp_dist.cluster import pool as pool_module
from uapfp_dist.cluster.packing import fits
from uapfp_dist.cluster.pool import RayPool
from uapfp_dist.errors import UserError
from uapfp_dist.progress import Progress
from uapfp_dist.types import Done, Failed


@dataclass(eq=False)
class FakeActor:
    """A worker: what it was asked is ready when it has a place."""

    share: float
    cluster: "FakeCluster"

    @property
    def start(self) -> Any:
        return SimpleNamespace(remote=lambda: FakeReference(self, lambda: (f"w{self.share:g}", "node")))

    @property
    def perform(self) -> Any:
        return SimpleNamespace(remote=lambda spec: FakeReference(self, lambda: self.cluster.perform(spec)))


@dataclass(eq=False)
class FakeReference:
    """What an actor will say."""

    actor: FakeActor
    answer: Callable[[], Any]


class FakeCluster:
    """One node; workers take their places in the order in which they were asked for."""

    def __init__(self, gpus: int) -> None:
        self.gpus = gpus
        self.actors: list[FakeActor] = []
        self.perform: Callable[[Any], Any] = lambda spec: Done(spec, 0.0, "w")

    def make(self, share: float) -> FakeActor:
        self.actors.append(FakeActor(share, self))
        return self.actors[-1]

    def standing(self) -> list[FakeActor]:
        """Those that have a place."""
        found: list[FakeActor] = []
        for actor in self.actors:
            if sum(other.share for other in found) + actor.share <= self.gpus:
                found.append(actor)
        return found

    def wait(self, pending: list[FakeReference], num_returns: int, timeout: float) -> tuple[list[FakeReference], Any]:
        standing = self.standing()
        return [r for r in pending if r.actor in standing][:num_returns], []


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Makes a pool on an imagined node with 16 CPUs and some GPUs; a spec is its share."""

    def make(gpus: int, **options: Any) -> RayPool:
        cluster = FakeCluster(gpus)
        actors = SimpleNamespace(
            options=lambda num_gpus, **rest: SimpleNamespace(remote=lambda opening: cluster.make(num_gpus))
        )
        ray = SimpleNamespace(
            wait=cluster.wait,
            get=lambda reference: reference.answer(),
            kill=cluster.actors.remove,
            remote=lambda kind: actors,
        )
        monkeypatch.setattr(crew_module, "ray", ray)
        monkeypatch.setattr(pool_module, "ray", ray)
        monkeypatch.setattr(crew_module, "LOOK_SECONDS", -1.0)
        monkeypatch.setattr(crew_module, "capacity", lambda share: {"node": fits({"CPU": 16, "GPU": gpus}, share)})
        monkeypatch.setattr(time, "sleep", lambda seconds: None)
        opening: Any = None
        share: Any = float
        pool: Any = RayPool(opening, share, 60.0, progress=Progress(0, io.StringIO()), **options)
        pool.cluster = cluster
        return pool

    return make


def done(pool: Any, *specs: float) -> list[float]:
    """Of `specs`, those that were done within a hundred looks."""
    for spec in specs:
        pool.submit(spec)
    return sorted(outcome.spec for _ in range(100) for outcome in pool.wait(0.0))


@pytest.mark.parametrize("most", [None, 1, 4])
@pytest.mark.parametrize("elastic", [False, True])
@pytest.mark.parametrize("gpus", [1, 2])
@pytest.mark.parametrize(("first", "second"), [(0.25, 1.0), (1.0, 0.25), (0.5, 2.0)])
def test_workers_of_another_share_make_room(
    first: float, second: float, gpus: int, elastic: bool, most: int | None, pools: Callable[..., Any]
) -> None:
    """The idle of a share that nothing waits for leave, however many they are."""
    if second > gpus:
        pytest.skip("never fits")
    pool = pools(gpus, elastic=elastic, most=most)
    assert done(pool, *[first] * 8) == [first] * 8
    assert done(pool, *[second] * 3) == [second] * 3
    assert done(pool, *[first, second] * 5) == sorted([first, second] * 5)


def test_patience_ends_where_nothing_is_done(pools: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Though there are workers: none that could take what waits."""
    pool = pools(1)
    assert done(pool, *[0.25] * 4) == [0.25] * 4
    monkeypatch.setattr(pool_module, "PATIENCE_SECONDS", -1.0)
    monkeypatch.setattr(pool._crew, "grow", lambda waiting: None)
    assert pool.size
    with pytest.raises(UserError, match="expected a worker within"):
        done(pool, 1.0)


def test_another_try_of_what_may_pass_comes_after_a_rest(
    pools: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three tries at once would all fall into the same short outage."""
    now, tried = [0.0], list[float]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pool = pools(1)

    def away(spec: Any) -> Failed:
        tried.append(now[0])
        return Failed(spec, "OSError: away", transient=True)

    pool.cluster.perform = away
    pool.submit(1.0)
    found: list[Any] = []
    while not found and now[0] < 1000.0:
        found = pool.wait(1.0)
        now[0] += 1.0
    assert [outcome.error for outcome in found] == ["OSError: away (3 times)"]
    assert len(tried) == 3
    assert all(later - earlier >= pool_module.REST_SECONDS for earlier, later in pairwise(tried))
