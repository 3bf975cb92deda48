"""What a resume asks of its storage, counted, and that it finds exactly what is missing; no time is judged."""

import random
from collections import Counter
from pathlib import Path

import pytest

from uapfp_dist.benchmarks.driver import MISSING, driver, fill, no_op_specs, settle
from uapfp_dist.benchmarks.driver import Counter as CentralCounter
from uapfp_dist.execution.stored import published_ids, stored_specs
from uapfp_dist.results.driver import DriverCost, DriverPoint, DriverScale, driver_figure, driver_section
from uapfp_dist.storage.filesystem import Filesystem
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.outcomes import Done
from uapfp_dist.tasks.pool import SerialPool
from uapfp_dist.tasks.scheduler import run_tasks

METHODS = ("exists", "list", "read", "remove", "write")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Calls of every method of a storage's files, by name."""
    found: Counter[str] = Counter()

    def counted(name: str) -> None:
        method = getattr(Filesystem, name)

        def call(*arguments: object) -> object:
            found[name] += 1
            return method(*arguments)

        monkeypatch.setattr(Filesystem, name, call)

    for name in METHODS:
        counted(name)
    return found


def filled(folder: Path, specs: list[Spec], kept: list[Spec]) -> Store:
    """A storage with the artifacts of `kept`, opened anew."""
    fill(str(folder), [spec for spec in specs if spec in kept])
    return Store(str(folder))


@pytest.mark.parametrize("n", [60, 240])
def test_a_resume_lists_each_kind_once_and_reads_each_artifact_once(
    n: int, tmp_path: Path, calls: Counter[str]
) -> None:
    """However many specs there are: no look for a single file, and nothing is read for one that is not there."""
    specs = no_op_specs(n)
    store = filled(tmp_path, [*specs], [*specs[: n // 2]])
    calls.clear()
    stored = stored_specs(store, specs)
    assert [stored(spec) for spec in specs] == [True] * (n // 2) + [False] * (n - n // 2)
    assert calls == {"list": 1, "read": n // 2}
    calls.clear()
    stored_specs(store, specs)
    assert published_ids(store, specs) == {spec.id for spec in specs[: n // 2]}
    assert calls == {"list": 2}, "what is whole is not read again"


@pytest.mark.parametrize("seed", range(5))
def test_a_resume_performs_exactly_what_is_missing_or_torn(seed: int, tmp_path: Path) -> None:
    rng, specs = random.Random(seed), no_op_specs(80)
    victim, *others = specs
    kept = [victim, *rng.sample(others, rng.randrange(len(others)))]
    store = filled(tmp_path, [*specs], [*kept])
    torn = rng.sample(kept[1:], min(3, len(kept) - 1))
    for spec in torn:
        path = Path(store.path(*spec.artifact))
        path.write_bytes(path.read_bytes()[:-1])
    made: list[str] = []
    pool = SerialPool(lambda spec: made.append(spec.id))
    outcomes = list(run_tasks(specs, pool, stored_specs(store, specs)))
    whole = {spec.id for spec in kept} - {spec.id for spec in torn}
    assert made == [spec.id for spec in specs if spec.id not in whole], "each once, in their order"
    assert {o.spec.id for o in outcomes if isinstance(o, Done) and o.reused} == whole
    assert len(outcomes) == len(specs)


class Here:
    """A central actor in this process."""

    def __init__(self) -> None:
        self.counter = CentralCounter()

    def send(self, name: str, *arguments: object) -> None:
        """At once."""
        getattr(self.counter, name)(*arguments)

    def call(self, name: str) -> object:
        """The same."""
        return getattr(self.counter, name)()


def test_the_benchmark_settles_every_spec(tmp_path: Path) -> None:
    specs = no_op_specs(30)
    assert len({spec.id for spec in specs}) == 30
    assert {need for spec in specs for need in spec.needs} == {specs[0]}
    made: list[str] = []
    store = filled(tmp_path, [*specs], [*specs[:-MISSING]])
    settle(specs, SerialPool(lambda spec: made.append(spec.id)), stored_specs(store, specs), Here())  # type: ignore[arg-type]
    assert made == [spec.id for spec in specs[-MISSING:]]


@pytest.mark.heavy
def test_the_benchmark_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Ray of its own."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    said: list[str] = []
    (point,) = driver(said.append, (50,)).points
    assert point.run.cpu > 0.0
    assert point.resume.peak_mb > 0.0
    assert len(said) == 2


def cost(n: int, power: float) -> DriverCost:
    """CPU time that grows as a power of n, memory as n."""
    return DriverCost(1e-6 * n**power, 1.0, 1000.0 + n / 1000, n / 1000)


def test_the_slope_is_the_exponent_of_growth() -> None:
    scale = DriverScale(tuple(DriverPoint(n, cost(n, 1.0), cost(n, 2.0)) for n in (100, 1000, 10_000)))
    assert scale.slope("run", "cpu") == pytest.approx(1.0)
    assert scale.slope("resume", "cpu") == pytest.approx(2.0)
    assert scale.slope("resume", "added_mb") == pytest.approx(1.0)
    table, slopes = driver_section(scale)
    assert "| 10,000 | 0.001 | 1.0 | 1010, 10 | 10.000 | 1.0 | 1010, 10 |" in table
    assert "run 1.00 in CPU time, 1.00 in memory, resume 2.00 in CPU time" in slopes
    times, memory = driver_figure(scale).axes
    assert [list(line.get_ydata()) for line in times.lines][1] == pytest.approx([0.01, 1.0, 100.0])
    assert memory.lines[0].get_ydata()[-1] == pytest.approx(1.01)
    assert len(list(driver_section(DriverScale(scale.points[:1])))) == 1, "one size has no slope"
