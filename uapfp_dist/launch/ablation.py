"""Run a grid as a runtime configuration says: what the store lacks first, then a trial for every cell."""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any

import torch

from uapfp_dist.central.evaluate import is_permanent
from uapfp_dist.central.grid_recorder import GridRecorder
from uapfp_dist.config.methods import likely_choices, with_possible_methods
from uapfp_dist.config.precision import with_precision
from uapfp_dist.config.runtime import ResolvedPaths, RuntimeConfig, check_runtime, resolve
from uapfp_dist.config.schema import Config, DataConfig
from uapfp_dist.config.validation import check_evaluation
from uapfp_dist.data import Dataset
from uapfp_dist.evaluation.cost import cost_of
from uapfp_dist.evaluation.grid_axes import figure_6, parse_grid
from uapfp_dist.evaluation.grid_cells import GridCell, check_axes, make_cells, shared_specs
from uapfp_dist.evaluation.plan import Plan, make_plan
from uapfp_dist.evaluation.spec_builder import load_pool
from uapfp_dist.evaluation.trials import Trials
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.launch.cost import WorkerRoom, say_cost
from uapfp_dist.launch.environment import environment
from uapfp_dist.launch.images import load_images
from uapfp_dist.launch.report_file import check_report, write_report
from uapfp_dist.launch.tracker import closing_run, open_tracker
from uapfp_dist.launch.workers import default_auth_mode, own_device, ray_pool
from uapfp_dist.progress import Progress
from uapfp_dist.reporting.grid_report import grid_id
from uapfp_dist.reporting.grid_schema import FailedSpec, GridReport, Preparation
from uapfp_dist.reporting.report_schema import ModelCounts, SpecFailure
from uapfp_dist.serialization import Json, from_json
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.hashing import content_id
from uapfp_dist.tasks.outcomes import Failed
from uapfp_dist.tasks.pool import Pool, SerialPool
from uapfp_dist.tasks.scheduler import run_tasks
from uapfp_dist.tracking.tracker import RunParams, Tracker


def run_grid(config: Config, name: str, seed: int, runtime: RuntimeConfig, grid: Sequence[str]) -> GridReport:
    """A grid over an evaluation; its report is also kept in the store.

    Args:
        config: the evaluation's.
        name: its preset.
        seed: its seed.
        runtime: its storage, workers and so on.
        grid: `name=value,value` each; none: Figure 6 left, n_points by top_k.

    Raises:
        UserError: anything wrong with the input.
    """
    started = time.perf_counter()
    config = with_possible_methods(with_precision(config, runtime.gpus_per_worker))
    check_evaluation(config)
    check_runtime(runtime)
    axes = parse_grid(grid)
    paths = resolve(runtime)
    check_report(paths.report)

    @lru_cache(maxsize=3)
    def dataset(data: DataConfig) -> Dataset:
        return load_images(data, paths)

    images = dataset(config.data)
    axes = axes or figure_6(config, images.n_classes)
    cells = make_cells(axes, config, seed, dataset)
    check_axes(axes, cells)
    store, progress = Store(paths.storage), Progress(workers=1)
    progress.say(f"{name}, seed {seed}: a grid of {len(cells)} cells, storage {paths.storage}")
    base = make_plan(config, seed, images, load_pool(config, dataset))
    params: RunParams = {"seed": seed, "grid": _axes(cells)}
    tags = {"job": "ablate", "preset": f"{name}-ablation", **_evaluated(store, base, name), **environment()}
    final = final_failures(store, [base, *(cell.plan for cell in cells)], name)
    sweep = GridRun(cells, store, paths, runtime, progress, params, tags, final)
    report = sweep.here() if runtime.workers == 0 or sweep.settled else sweep.on_ray()
    report = replace(report, preset=name, seed=seed, wall_seconds=round(time.perf_counter() - started, 2))
    write_report(paths.report, report)
    return report


def _axes(cells: Sequence[GridCell]) -> dict[str, Json]:
    """Axis to its values."""
    return {axis: str(tuple(dict.fromkeys(cell.values[axis] for cell in cells))) for axis in cells[0].values}


def _evaluated(store: Store, plan: Plan, preset: str) -> dict[str, str]:
    """The tag that names the evaluation of `plan` in the store, one that is reported before one that is begun."""
    known = _evaluations_of(plan, preset)
    found = [one for kind in ("report", "plan") for one in known if store.has(kind, one)]
    return {"evaluation_of": found[0]} if found else {}


def _evaluations_of(plan: Plan, preset: str) -> tuple[str, ...]:
    """Ids that the evaluation of `plan` may have: which methods it compared changes nothing in a grid."""
    return tuple(replace(plan, config=config).id for config in likely_choices(plan.config, preset))


class GridRun:
    """One grid and where it runs.

    Args:
        cells: of the grid.
        store: its storage.
        paths: where that is, and the data.
        runtime: workers and so on.
        progress: shows the state of the work.
        params: of its run in the tracker.
        tags: of the same.
        final: id of a spec that no further try could make to why: it and what needs it are left out.
    """

    def __init__(
        self,
        cells: Sequence[GridCell],
        store: Store,
        paths: ResolvedPaths,
        runtime: RuntimeConfig,
        progress: Progress,
        params: RunParams,
        tags: dict[str, str],
        final: Mapping[str, FailedSpec] = MappingProxyType({}),
    ) -> None:
        self._cells, self._store, self._paths = cells, store, paths
        self._runtime, self._progress = runtime, progress
        self._begun = params, tags
        specs = shared_specs(cells)
        self._stored = store.intact_among(spec.artifact for spec in specs)
        given_up = set[str]()
        for spec in specs:  # what is needed comes first
            if spec.artifact not in self._stored and {spec.id, *(need.id for need in spec.needs)} & {*final, *given_up}:
                given_up.add(spec.id)
        self._specs = [spec for spec in specs if spec.id not in given_up]
        self._given_up = tuple(final[spec.id] for spec in specs if spec.id in given_up and spec.id in final)

    @property
    def settled(self) -> bool:
        """Whether there is nothing to train, neither models nor encoders: then no Ray is wanted."""
        trials = Trials(self._store)
        return self._complete and all(trials.settled(cell) for cell in self._cells)

    @property
    def _complete(self) -> bool:
        return len(self._stored) == len(self._specs)

    def here(self) -> GridReport:
        """All of it in this process."""
        torch.set_num_threads(1)
        device = own_device(self._runtime)
        task_context = TaskContext(self._store, self._paths.data_root, device)
        room = WorkerRoom.here(device)
        preparation = self._prepare(room, lambda: nullcontext(SerialPool(partial(perform_task, task_context))))
        recorder = GridRecorder(self._cells, self._store, open_tracker(self._paths))
        trials = Trials(self._store)
        with closing_run(recorder.close):
            self._tell(recorder.begin(*self._begun))
            for cell in self._cells:
                recorder.record(trials.run(cell))
                self._progress.step("trials", *recorder.progress())
            report = recorder.finish({}, preparation)
            self._tell(recorder.publish())
            return report

    def on_ray(self) -> GridReport:
        """Missing specs on the pool, trials on Tune."""
        default_auth_mode(self._runtime.address)
        from uapfp_dist.cluster.central_recorder import CentralRecorder
        from uapfp_dist.cluster.session import session  # Ray takes seconds to import
        from uapfp_dist.cluster.tune_trials import tune_trials

        make_tracker: Callable[[], Tracker] = partial(open_tracker, self._paths)
        with session(self._runtime.address) as machine:
            preparation = self._prepare(WorkerRoom.on_ray(machine, self._runtime), lambda: self._pool(machine))
            storage, mark = self._paths.storage, self._store.write_marker()
            recorder = CentralRecorder(self._cells, storage, mark, make_tracker, self._progress)
            with closing_run(recorder.close):
                self._tell(recorder.begin(*self._begun))
                experiment = self._experiment()
                workers = self._runtime.workers
                died = tune_trials(self._cells, storage, mark, recorder, experiment, workers)
                report = recorder.finish(died, preparation)
                self._tell(recorder.publish())
                return report

    def _tell(self, away: str) -> None:
        if away:
            self._progress.say(f"{away}; the grid is kept in the store, the same command shows it there later")

    def _pool(self, machine: Any) -> AbstractContextManager[Pool]:
        data = self._cells[0].plan.data
        return ray_pool(machine, self._runtime, self._paths, self._store, data, self._progress)

    def _prepare(self, room: WorkerRoom, make_pool: Callable[[], AbstractContextManager[Pool]]) -> Preparation:
        """Make the models, probes and responses that the cells need and the store lacks, each once."""
        progress = self._progress
        failures = list(self._given_up)
        if not self._complete:
            context = TaskContext(self._store, self._paths.data_root, torch.device("cpu"))
            say_cost(partial(cost_of, self._specs, ()), context, room, self._runtime.max_hours, progress)
            progress.expect(self._specs)
            with make_pool() as pool:
                progress.watch(pool)
                for outcome in run_tasks(
                    self._specs, pool, lambda spec: spec.artifact in self._stored, progress.refresh
                ):
                    progress.observe(outcome)
                    if isinstance(outcome, Failed) and not outcome.skipped:
                        spec = outcome.spec
                        failures.append(FailedSpec(id=spec.id, kind=spec.kind, error=outcome.error))
        return Preparation(models=ModelCounts(**progress.counts()), failed_specs=tuple(failures))

    def _experiment(self) -> str:
        """Where Tune keeps its state: in the storage, or, as it wants a disk, at home in a folder for its URL alone."""
        storage, name = self._paths.storage, grid_id(self._cells)
        if "://" in storage:
            storage, name = os.path.expanduser("~/uapfp_dist"), f"{name}-{content_id(storage.rstrip('/'))}"
        return os.path.join(storage, "tune", name)


def final_failures(store: Store, plans: Iterable[Plan], preset: str) -> dict[str, FailedSpec]:
    """Id to what no further try could make, by the reports of the evaluations of `plans`; what needs it is not there.

    Args:
        store: of the reports.
        plans: of evaluations that may have been reported.
        preset: from which they started.
    """
    found: dict[str, FailedSpec] = {}
    for evaluation in dict.fromkeys(one for plan in plans for one in _evaluations_of(plan, preset)):
        if not store.intact("report", evaluation):
            continue
        for value in store.get("report", evaluation).info["failures"]:
            failure = from_json(SpecFailure, value)
            if is_permanent(failure) and not failure.skipped:
                found[failure.id] = FailedSpec(id=failure.id, kind=failure.kind, error=failure.error)
    return found
