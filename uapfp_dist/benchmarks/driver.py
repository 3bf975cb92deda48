"""Part `driver` of the benchmark: time and memory of the process that hands out tasks, by their number."""

import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from multiprocessing import get_context
from pathlib import Path

from uapfp_dist.cluster.central_actor import CentralActor
from uapfp_dist.cluster.pool import RayPool
from uapfp_dist.cluster.session import session
from uapfp_dist.cluster.worker import Perform
from uapfp_dist.config.presets import preset
from uapfp_dist.data import load
from uapfp_dist.evaluation.plan import make_plan
from uapfp_dist.execution.stored import stored_specs
from uapfp_dist.progress import Progress
from uapfp_dist.results.driver import DriverCost, DriverPoint, DriverScale
from uapfp_dist.storage.artifacts import Artifact, encode
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.outcomes import Outcome
from uapfp_dist.tasks.pool import Pool, SerialPool
from uapfp_dist.tasks.scheduler import run_tasks
from uapfp_dist.tasks.specs import ModelSpec

SIZES = (1_000, 10_000, 100_000)
MISSING = 10
"""Of the specs that are resumed."""
WORKERS = 2


def driver(say: Callable[[str], object], sizes: Sequence[int] = SIZES) -> DriverScale:
    """Every size, each in processes of its own, whose memory nothing else has used."""
    points = []
    for n in sizes:
        points.append(DriverPoint(n, run=_alone(run_all, n), resume=_alone(resume, n)))
        for name, cost in (("run", points[-1].run), ("resume", points[-1].resume)):
            say(
                f"driver, {n:,} specs, {name}: {1000 * cost.cpu / n:.3f} CPU-ms each, {cost.wall:.1f} s in all, "
                f"{cost.peak_mb:.0f} MB, {cost.added_mb:.0f} MB of them for the specs"
            )
    return DriverScale(tuple(points))


def _alone(measured: Callable[[int], DriverCost], n: int) -> DriverCost:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(measured, n).result()


def no_op_specs(n: int) -> list[ModelSpec]:
    """Specs of real size: a victim and models stolen from it, which differ by their seed and have no ids as yet."""
    victim, *others = (member.spec for member in make_plan(preset("digits"), 0, load("digits", None)).members)
    stolen = next(spec for spec in others if spec.needs == (victim,))
    return [victim, *(replace(stolen, seed=seed) for seed in range(n - 1))]


def fill(storage: str, specs: Sequence[Spec]) -> None:
    """Store small artifacts, without the care of `Store.put`."""
    store = Store(storage)
    for kind in {spec.kind for spec in specs}:
        Path(store.path(kind, "")).parent.mkdir(exist_ok=True)
    for spec in specs:
        Path(store.path(*spec.artifact)).write_bytes(encode(*spec.artifact, Artifact({}, {})))


class Counter:
    """What a central actor holds: it counts outcomes."""

    def __init__(self) -> None:
        self.n = 0

    def begin(self) -> str:
        """Nothing is away."""
        return ""

    def progress(self) -> tuple[int, int] | None:
        """Nothing is judged."""
        return None

    def observe(self, outcome: Outcome) -> None:
        """Count one."""
        self.n += 1

    def count(self) -> int:
        """Outcomes so far."""
        return self.n

    def close(self, status: str) -> None:
        """Nothing is open."""


@contextmanager
def central_counter() -> Iterator[CentralActor]:
    """One in a Ray of its own, ready."""
    with session(None):
        actor = CentralActor("counter", Counter, Progress(0, StringIO()), "judge")
        actor.begin()
        yield actor
        actor.close("FINISHED")


def idle_context() -> Perform:
    """Performs nothing."""
    return lambda spec: None


def settle(specs: Sequence[Spec], pool: Pool, stored: Callable[[Spec], bool], actor: CentralActor) -> None:
    """All specs as an evaluation goes through them, until the central actor knows of each."""
    progress = Progress(WORKERS, StringIO())
    progress.expect(specs)
    progress.watch(pool)
    for outcome in run_tasks(specs, pool, stored, progress.refresh):
        progress.observe(outcome)
        actor.send("observe", outcome)
    known = actor.call("count")
    assert known == len(specs), f"the actor knows of {known}"


def run_all(n: int) -> DriverCost:
    """None is stored."""
    with central_counter() as actor:
        pool = RayPool(idle_context, lambda spec: 0.0, lambda spec: 60.0, most=WORKERS)
        specs = no_op_specs(n)
        assert len(list(run_tasks(specs[:1], pool, lambda spec: False))) == 1  # the workers have started
        cost = measured(lambda: settle(specs, pool, lambda spec: spec is specs[0], actor))
        pool.close()
    return cost


def resume(n: int) -> DriverCost:
    """All but `MISSING` are stored; each of these is performed, and no other."""
    made: list[str] = []
    specs = no_op_specs(n)
    with tempfile.TemporaryDirectory() as storage, central_counter() as actor:
        fill(storage, no_op_specs(n)[:-MISSING])
        pool = SerialPool(lambda spec: made.append(spec.id))
        cost = measured(lambda: settle(specs, pool, stored_specs(Store(storage), specs), actor))
    assert made == [spec.id for spec in specs[-MISSING:]]
    return cost


def measured(work: Callable[[], object]) -> DriverCost:
    """What `work` takes of this process."""
    before, wall, cpu = peak_mb(), time.perf_counter(), time.process_time()
    work()
    after = peak_mb()
    return DriverCost(time.process_time() - cpu, time.perf_counter() - wall, after, after - before)


def peak_mb() -> float:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
