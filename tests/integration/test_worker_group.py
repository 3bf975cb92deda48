"""Workers on a simulated cluster: those that fit start at once, others are pending.

Time is simulated too: it passes when nothing else happens.
"""

import io
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from uapfp_dist.cluster import pool as pool_module
from uapfp_dist.cluster import worker_group as group_module
from uapfp_dist.cluster.capacity import fits
from uapfp_dist.cluster.pool import RayPool
from uapfp_dist.errors import MismatchError, UserError
from uapfp_dist.progress import Progress
from uapfp_dist.tasks.hashing import Spec, wire_names
from uapfp_dist.tasks.outcomes import Done, Failed


class Share(float):
    """A spec that is the share of its worker."""

    kind, id = "share", "0123"


@dataclass(eq=False)
class FakeActor:
    """A worker: the result of a call is ready when it is placed, and some time has passed."""

    share: float
    number: int
    cluster: "FakeCluster"

    @property
    def node(self) -> str:
        return self.cluster.placed()[self]

    @property
    def place(self) -> Any:
        return SimpleNamespace(remote=lambda: FakeReference(self, self._place, 0.0))

    def _place(self) -> tuple[str, str, bool]:
        return f"w{self.number}", self.node, self.cluster.in_turn

    @property
    def start(self) -> Any:
        def remote() -> FakeReference:
            found, seconds = self.cluster.start(self.node)
            return FakeReference(self, lambda: found, self.cluster.now + seconds)

        return SimpleNamespace(remote=remote)

    @property
    def perform(self) -> Any:
        def remote(spec: Any) -> FakeReference:
            outcome, seconds = self.cluster.perform(spec, self.node)
            return FakeReference(self, lambda: outcome, self.cluster.now + seconds)

        def options(name: str) -> Any:
            self.cluster.names.append(name)
            return SimpleNamespace(remote=remote)

        return SimpleNamespace(options=options)


@dataclass(eq=False)
class FakeReference:
    """What an actor will answer, and when."""

    actor: FakeActor
    answer: Callable[[], Any]
    ready: float


class FakeCluster:
    """Equal nodes; workers are placed in the order in which they were requested."""

    def __init__(self, gpus: int, nodes: int) -> None:
        self.gpus, self.nodes = gpus, [f"node{i}" for i in range(nodes)]
        self.now = 0.0
        self.made = 0
        self.in_turn = False
        self.names: list[str] = []
        """Under which Ray's tools show what was performed."""
        self.actors: list[FakeActor] = []
        self._nodes: dict[FakeActor, str] = {}
        self.perform: Callable[[Any, str], tuple[Any, float]] = lambda spec, node: (Done(spec, 0.0, node), 0.0)
        self.start: Callable[[str], tuple[Any, float]] = lambda node: (None, 0.0)

    def make(self, share: float) -> FakeActor:
        self.made += 1
        self.actors.append(FakeActor(share, self.made, self))
        return self.actors[-1]

    def placed(self) -> dict[FakeActor, str]:
        """Those that are placed, and where. None moves: a place that is given up goes to the next in line."""
        used = Counter[str]()
        for actor, node in self._nodes.items():
            used[node] += actor.share if actor in self.actors else 0.0
        self._nodes = {actor: node for actor, node in self._nodes.items() if actor in self.actors}
        for actor in self.actors:
            free = [node for node in self.nodes if used[node] + actor.share <= self.gpus]
            if actor not in self._nodes and free:
                self._nodes[actor] = free[0]
                used[free[0]] += actor.share
        return self._nodes

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def wait(self, pending: list[FakeReference], num_returns: int, timeout: float) -> tuple[list[FakeReference], Any]:
        placed = self.placed()
        ready = [r for r in pending if r.actor in placed and r.ready <= self.now]
        if not ready:
            self.now += timeout
        return ready[:num_returns], []


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


def outcomes(pool: Any, *specs: Any, looks: int = 100, seconds: float = 0.0) -> list[Any]:
    """Of `specs`, what came of them within so many looks of so many seconds at most."""
    for spec in specs:
        pool.submit(Share(spec) if isinstance(spec, float) else spec)
    return [outcome for _ in range(looks) for outcome in pool.wait(seconds)]


def done(pool: Any, *specs: float) -> list[float]:
    """Of `specs`, those that were done within a hundred looks."""
    return sorted(outcome.spec for outcome in outcomes(pool, *specs))


@pytest.mark.parametrize("most", [None, 1, 4])
@pytest.mark.parametrize("elastic", [False, True])
@pytest.mark.parametrize(
    ("gpus", "first", "second"), [(1, 0.25, 1.0), (1, 1.0, 0.25), (2, 0.25, 1.0), (2, 1.0, 0.25), (2, 0.5, 2.0)]
)
def test_workers_of_another_share_make_room(
    gpus: int, first: float, second: float, elastic: bool, most: int | None, pools: Callable[..., Any]
) -> None:
    """The idle of a share that nothing waits for leave, however many they are."""
    pool = pools(gpus, elastic=elastic, most=most)
    assert done(pool, *[first] * 8) == [first] * 8
    assert done(pool, *[second] * 3) == [second] * 3
    assert done(pool, *[first, second] * 5) == sorted([first, second] * 5)


def test_patience_ends_where_nothing_is_done(pools: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Though there are workers: none that could take what waits."""
    pool = pools(1)
    assert done(pool, *[0.25] * 4) == [0.25] * 4
    monkeypatch.setattr(pool_module, "PATIENCE_SECONDS", -1.0)
    monkeypatch.setattr(pool._workers, "scale", lambda waiting: None)
    assert pool.size
    with pytest.raises(UserError, match="expected a worker within"):
        done(pool, 1.0)


def test_another_try_after_a_transient_failure_comes_after_a_delay(
    pools: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three tries at once would all fall into the same short outage."""
    pool, tried = pools(1), list[float]()

    def away(spec: Any, node: str) -> tuple[Failed, float]:
        tried.append(pool.cluster.now)
        return Failed(spec, "OSError: away", transient=True), 0.0

    pool.cluster.perform = away
    found = outcomes(pool, 1.0, seconds=1.0)
    assert [outcome.error for outcome in found] == ["OSError: away (3 times)"]
    assert len(tried) == 3
    assert all(later - earlier >= pool_module.RETRY_SECONDS for earlier, later in pairwise(tried))


@pytest.mark.parametrize(
    ("share", "elastic", "told"),
    [(0.25, True, 2), (1.0, True, 0), (0.25, False, 0)],
    ids=["shared", "whole", "own Ray"],
)
def test_nodes_without_mps_are_named_once(pools: Callable[..., Any], share: float, elastic: bool, told: int) -> None:
    """Each node of a cluster on which workers share a GPU; a Ray of the job's own has said it at its start."""
    pool = pools(1, nodes=2, elastic=elastic)
    pool.cluster.in_turn = True
    outcomes(pool, *[share] * 16, seconds=1.0)
    assert pool._progress.out.getvalue().count("shares its GPU in turn") == told


def test_tasks_are_named_by_their_specs(pools: Callable[..., Any]) -> None:
    """Ray's dashboard and `ray list tasks` say what was begun, and how often."""
    pool = pools(1, share=lambda spec: 1.0)
    assert len(outcomes(pool, Numbered(1), Numbered(2))) == 2
    assert pool.cluster.names == [f"Worker.perform task {Numbered(n).id}" for n in (1, 2)]


# --- nodes that are broken


@wire_names("task", "number")
@dataclass(frozen=True)
class Numbered(Spec):
    """One of many."""

    stage: ClassVar[str] = "zoo"
    number: int = 0


SPEC = Numbered()


@dataclass
class Struck:
    """One of eight nodes fails whatever it is given, in no time; on the others a spec takes ten seconds."""

    failed: Callable[[Any], Failed]
    tried: list[tuple[Any, str]]

    def __call__(self, spec: Any, node: str) -> tuple[Any, float]:
        self.tried.append((spec, node))
        return (self.failed(spec), 0.0) if node == "node3" else (Done(spec, 10.0, node), 10.0)


STALE = partial(Failed, error="OSError: stale file handle", transient=True)
CUDA = partial(Failed, error="AcceleratorError: CUDA error: unspecified launch failure", worker_broken=True)


@pytest.mark.parametrize("failed", [STALE, CUDA])
def test_a_broken_node_fails_no_spec(failed: Callable[[Any], Failed], pools: Callable[..., Any]) -> None:
    """It would drain the queue in seconds. What failed there is done elsewhere, and it is given less and less often."""
    pool = pools(1, nodes=8, share=lambda spec: 1.0)
    pool.cluster.perform = struck = Struck(failed, [])
    found = outcomes(pool, *map(Numbered, range(240)), looks=2000, seconds=1.0)
    assert sorted(outcome.spec.number for outcome in found) == list(range(240))
    assert all(isinstance(outcome, Done) for outcome in found)
    there = Counter(spec for spec, node in struck.tried if node == "node3")
    assert there
    assert set(there.values()) == {1}, "never twice"
    workers = pool.cluster.made - 7
    assert workers <= 2 + pool.cluster.now / group_module.PAUSE_SECONDS, "it does not spin"
    assert len(there) <= workers * group_module.MAX_FAILURES
    assert pool.size <= 8


def test_where_all_nodes_fail_a_spec_comes_to_an_end(pools: Callable[..., Any]) -> None:
    """One try on each of three nodes, then no other node is left to it."""
    pool, tried = pools(1, nodes=3, share=lambda spec: 1.0), Counter[str]()

    def perform(spec: Any, node: str) -> tuple[Any, float]:
        tried[node] += 1
        return STALE(spec), 0.0

    pool.cluster.perform = perform
    (outcome,) = outcomes(pool, SPEC, looks=300, seconds=1.0)
    assert outcome.error == "OSError: stale file handle (3 times)"
    assert tried == {"node0": 1, "node1": 1, "node2": 1}


def test_the_only_node_has_another_try(pools: Callable[..., Any]) -> None:
    pool, tried = pools(1, share=lambda spec: 1.0), list[float]()

    def perform(spec: Any, node: str) -> tuple[Any, float]:
        tried.append(pool.cluster.now)
        return (CUDA(spec) if len(tried) < 3 else Done(spec, 0.0, node)), 0.0

    pool.cluster.perform = perform
    (outcome,) = outcomes(pool, SPEC, looks=300, seconds=1.0)
    assert isinstance(outcome, Done)
    assert pool.cluster.made == 3, "each with a new process"
    assert all(later - earlier >= group_module.PAUSE_SECONDS for earlier, later in pairwise(tried))


def test_failures_that_are_no_more_in_a_row_are_forgotten(pools: Callable[..., Any]) -> None:
    """Every other spec fails the first time: that is not the worker's fault."""
    pool, seen = pools(1, share=lambda spec: 1.0), set[Numbered]()

    def perform(spec: Numbered, node: str) -> tuple[Any, float]:
        failed = spec.number % 2 == 0 and spec not in seen
        seen.add(spec)
        return (STALE(spec) if failed else Done(spec, 0.0, node)), 0.0

    pool.cluster.perform = perform
    assert len(outcomes(pool, *map(Numbered, range(20)), looks=300, seconds=1.0)) == 20
    assert pool.cluster.made == 1


# --- workers that do not start


def test_a_start_that_hangs_is_given_up(pools: Callable[..., Any]) -> None:
    """The last spec would wait for it for ever; one that is merely pending may take as long as machines take."""
    pool = pools(1, share=lambda spec: 1.0)
    starts = iter([1e9, 1e9, 0.0])
    pool.cluster.start = lambda node: (None, next(starts))
    (outcome,) = outcomes(pool, SPEC, looks=4000, seconds=1.0)
    assert isinstance(outcome, Done)
    assert pool.cluster.made == 3
    shown = pool._progress.out.getvalue()
    assert shown.count("could not start: w1 took longer than 600 s") == 1


def test_a_start_that_is_known_to_take_long_is_waited_for(pools: Callable[..., Any]) -> None:
    """However many images there are to decode on a node: with patience for one that hangs before it, too."""
    pool = pools(1, share=lambda spec: 1.0, start_seconds=7200.0)
    starts = iter([1e9, 7000.0])
    pool.cluster.start = lambda node: (None, next(starts))
    (outcome,) = outcomes(pool, SPEC, looks=15_000, seconds=1.0)
    assert isinstance(outcome, Done)
    assert pool.cluster.made == 2
    assert "could not start: w1 took longer than 7200 s" in pool._progress.out.getvalue()


def test_the_pending_are_left_alone(pools: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "PATIENCE_SECONDS", 1e9)
    pool = pools(0, share=lambda spec: 1.0, elastic=True)
    assert outcomes(pool, SPEC, looks=4000, seconds=1.0) == []
    assert pool.cluster.made == len(pool.cluster.actors) == 1


def breaking_once(pool: Any) -> None:
    """The worker has done a spec, and will be lost over the next one."""
    assert len(outcomes(pool, SPEC)) == 1
    worn = [Failed(SPEC, "CUDA error", worker_broken=True)]
    pool.cluster.perform = lambda spec, node: (worn.pop() if worn else Done(spec, 0.0, node), 0.0)


def test_a_storage_that_is_away_when_a_worker_is_replaced_is_waited_for(pools: Callable[..., Any]) -> None:
    """The job does not end, and no place is held for good."""
    pool = pools(1, share=lambda spec: 1.0)
    breaking_once(pool)
    away = UserError("node a: storage s3://b: expected a folder that can be written (no answer); choose another")
    pool.cluster.start = lambda node: (away if pool.cluster.now < 300.0 else None, 10.0)
    (outcome,) = outcomes(pool, SPEC, looks=600, seconds=1.0)
    assert isinstance(outcome, Done)
    assert pool.cluster.now > 300.0
    assert 300.0 / 20.0 - 2 < pool.cluster.made < 300.0 / 20.0 + 4
    assert len(pool.cluster.actors) == 1
    assert "could not start: node a: storage s3://b" in pool._progress.out.getvalue()


def test_before_any_work_a_storage_that_is_away_ends_the_job(pools: Callable[..., Any]) -> None:
    """More likely its address is wrong on that node, and little is lost."""
    pool = pools(1, share=lambda spec: 1.0)
    pool.cluster.start = lambda node: (UserError("storage s3://b: no credentials"), 0.0)
    with pytest.raises(UserError, match="no credentials"):
        outcomes(pool, SPEC)


def test_patience_says_why_no_worker_came(pools: Callable[..., Any]) -> None:
    pool = pools(1, share=lambda spec: 1.0)
    breaking_once(pool)
    pool.cluster.start = lambda node: (UserError("storage s3://b: no credentials"), 0.0)
    with pytest.raises(UserError, match=r"got none \(one could not start: storage s3://b: no credentials\)"):
        outcomes(pool, SPEC, looks=3000, seconds=1.0)


def test_another_storage_is_refused(pools: Callable[..., Any]) -> None:
    """Before any work that is the end; a node that joins later is left out, and its place held."""
    pool = pools(1, nodes=2, share=lambda spec: 1.0, elastic=True)
    strange = MismatchError("storage /s: expected the driver's files here")
    pool.cluster.start = lambda node: (strange if node == "node1" else None, 0.0)
    with pytest.raises(MismatchError):
        outcomes(pool, *map(Numbered, range(4)), looks=50, seconds=1.0)
    pool = pools(1, nodes=1, share=lambda spec: 1.0, elastic=True)
    pool.cluster.start = lambda node: (strange if node == "node1" else None, 0.0)
    assert len(outcomes(pool, SPEC, looks=50, seconds=1.0)) == 1
    pool.cluster.nodes.append("node1")
    assert len(outcomes(pool, *map(Numbered, range(4)), looks=50, seconds=1.0)) == 4
    assert "left out: storage /s" in pool._progress.out.getvalue()
    assert list(pool.cluster.placed().values()).count("node1") == 1
