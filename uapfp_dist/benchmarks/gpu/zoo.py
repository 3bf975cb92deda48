"""Part `zoo`: models of `fashion_mnist` at the paper's scale, as many as there is time for."""

import importlib.util
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from uapfp_dist.benchmarks.gpu.notes import Notes
from uapfp_dist.benchmarks.gpu.settings import Settings
from uapfp_dist.cluster.mps import is_running
from uapfp_dist.config.presets import preset
from uapfp_dist.config.runtime import ResolvedPaths, RuntimeConfig
from uapfp_dist.config.schema import Config, ControlConfig, SiblingConfig
from uapfp_dist.evaluation.plan import make_plan
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.launch.workers import default_auth_mode, ray_pool
from uapfp_dist.progress import Progress
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.outcomes import Done, Failed, Outcome
from uapfp_dist.tasks.pool import Pool, SerialPool
from uapfp_dist.tasks.scheduler import run_tasks
from uapfp_dist.tasks.specs import DataSpec, ModelSpec

MODELS = "models"
WRITE_SECONDS = 5.0
"""Between two writings."""
END_SECONDS = 6.0
"""To end Ray and its workers in."""


@dataclass(frozen=True)
class ZooProgress:
    """How far it came."""

    planned: int
    """Models of the whole plan."""
    made: int
    others: int
    """Specs that are no models: probes, responses."""
    failed: int
    why: tuple[str, ...]
    """The first causes, each once."""
    workers: int
    seconds: float
    """Since the first model was begun."""
    models_per_minute: float
    mps: bool
    """Whether they shared the GPU by MPS."""
    busy: float
    """Share of the workers' time that they spent on specs."""
    by_architecture: dict[str, float]
    """To mean seconds of a model, beside others on the same GPU."""


def planned(settings: Settings) -> list[str]:
    """The one measurement, which grows."""
    return [MODELS]


def measure(settings: Settings, notes: Notes) -> None:
    """Run the plan of the preset until time is up, in workers on Ray if that is installed, else in this process."""
    if settings.data_root is None and not settings.tiny:
        notes.skip("expected a folder with Fashion-MNIST, got none; give --data-root")
        return
    config = _tiny() if settings.tiny else preset("fashion_mnist")
    with TemporaryDirectory() as folder:
        root = None if settings.data_root is None or settings.tiny else Path(settings.data_root)
        dataset = settings.images()
        plan = make_plan(config, 0, dataset)
        with _pool(settings, folder, root, plan.data) as pool:
            n_models = sum(isinstance(spec, ModelSpec) for spec in plan.specs)
            tally = _Tally(n_models, pool)

            def tick() -> None:
                if notes.left < END_SECONDS or (settings.tiny and tally.made >= 4):
                    raise _TimeIsUpError

            try:
                for outcome in run_tasks(plan.specs, pool, lambda spec: False, tick):
                    tally.add(outcome)
                    if tally.due():
                        notes.put(MODELS, tally.progress())
            except _TimeIsUpError:
                pass
            notes.put(MODELS, tally.progress())


class _TimeIsUpError(Exception):
    pass


class _Tally:
    def __init__(self, n_models: int, pool: Pool) -> None:
        self._planned, self._pool = n_models, pool
        self._began = self._written = 0.0
        self._busy = 0.0
        self.made = self._others = self._failed = 0
        self._why: dict[str, None] = {}
        self._seconds: dict[str, list[float]] = {}

    def add(self, outcome: Outcome) -> None:
        """One more."""
        if isinstance(outcome, Failed):
            self._failed += 1
            self._why[outcome.error[:200]] = None
        if not isinstance(outcome, Done):
            return
        self._began = self._began or time.monotonic() - outcome.seconds
        self._busy += outcome.seconds
        if isinstance(outcome.spec, ModelSpec):
            self.made += 1
            self._seconds.setdefault(outcome.spec.architecture, []).append(outcome.seconds)
        else:
            self._others += 1

    def due(self) -> bool:
        """Whether it is time to write."""
        if time.monotonic() - self._written < WRITE_SECONDS:
            return False
        self._written = time.monotonic()
        return True

    def progress(self) -> ZooProgress:
        """So far."""
        seconds = time.monotonic() - self._began if self._began else 0.0
        workers = self._pool.size
        return ZooProgress(
            planned=self._planned,
            made=self.made,
            others=self._others,
            failed=self._failed,
            why=tuple(self._why)[:5],
            workers=workers,
            seconds=seconds,
            models_per_minute=60 * self.made / seconds if seconds else 0.0,
            mps=is_running(),
            busy=self._busy / (workers * seconds) if seconds and workers else 0.0,
            by_architecture={name: sum(found) / len(found) for name, found in self._seconds.items()},
        )


@contextmanager
def _pool(settings: Settings, folder: str, root: Path | None, data: DataSpec) -> Iterator[Pool]:
    store = Store(folder)
    if settings.tiny or importlib.util.find_spec("ray") is None:
        yield SerialPool(partial(perform_task, TaskContext(store, root, settings.torch_device)))
        return
    default_auth_mode(None)
    from uapfp_dist.cluster.session import session  # Ray takes seconds to import

    paths = ResolvedPaths(folder, root, "", None, None)
    runtime = RuntimeConfig(storage=folder)
    with session(None) as cluster, ray_pool(cluster, runtime, paths, store, data, Progress(workers=1)) as pool:
        yield pool


def _tiny() -> Config:
    config = preset("digits")
    zoo = replace(config.zoo, width=4, epochs=1.0, homologous_margin=1.0, piracy_margin=1.0)
    return replace(config, zoo=zoo, siblings=SiblingConfig(), controls=ControlConfig())
