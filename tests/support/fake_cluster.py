"""A simulated cluster: workers that fit start at once, others are pending.

Time is simulated too: it passes when nothing else happens.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

from uapfp_dist.tasks.hashing import Spec, wire_names
from uapfp_dist.tasks.outcomes import Done


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


def outcomes(pool: Any, *specs: Any, looks: int = 100, seconds: float = 0.0) -> list[Any]:
    """Of `specs`, what came of them within so many looks of so many seconds at most."""
    for spec in specs:
        pool.submit(Share(spec) if isinstance(spec, float) else spec)
    return [outcome for _ in range(looks) for outcome in pool.wait(seconds)]


@wire_names("task", "number")
@dataclass(frozen=True)
class Numbered(Spec):
    """One of many."""

    stage: ClassVar[str] = "zoo"
    number: int = 0


SPEC = Numbered()
