"""One evaluation, from a configuration to a report."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from uapfp_dist.central.evaluate import evaluate, is_final
from uapfp_dist.central.evaluator import Evaluator
from uapfp_dist.config.command_line import evaluation_flags
from uapfp_dist.config.methods import with_all_methods
from uapfp_dist.config.precision import with_precision
from uapfp_dist.config.runtime import ResolvedPaths, RuntimeConfig, check_runtime, resolve
from uapfp_dist.config.schema import Config
from uapfp_dist.config.validation import check_evaluation
from uapfp_dist.data import Dataset
from uapfp_dist.data.dataset import join_notes
from uapfp_dist.data.splits import make_splits
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.cost import cost_of, judging_seconds
from uapfp_dist.evaluation.plan import Plan, make_plan
from uapfp_dist.evaluation.spec_builder import load_pool
from uapfp_dist.evaluation.state import store_plan
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.execution.stored import stored_specs
from uapfp_dist.launch.cost import WorkerRoom, say_cost
from uapfp_dist.launch.environment import environment
from uapfp_dist.launch.images import load_images
from uapfp_dist.launch.other_precision import in_other_precision
from uapfp_dist.launch.report_file import check_report, write_report
from uapfp_dist.launch.tracker import closing_run, open_tracker
from uapfp_dist.launch.workers import default_auth_mode, own_device, ray_pool
from uapfp_dist.progress import Progress
from uapfp_dist.reporting.report import Report
from uapfp_dist.reporting.report_schema import Environment, EvaluationReport, read_report
from uapfp_dist.serialization import from_json
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.hashing import Spec, content_id, wire_form
from uapfp_dist.tasks.members import Role, members_of
from uapfp_dist.tasks.pool import SerialPool
from uapfp_dist.tracking.publication import KIND, VERSION, Publication, patience, publish
from uapfp_dist.tracking.tracker import Tracker, where_shown

BOUND = "MLflow is a file there, {}, which other nodes may lack; name a tracking server for a GPU elsewhere"
"""Why an evaluator may not leave the driver's node: elsewhere it would write into a new file of that name."""


def run(config: Config, name: str, seed: int, runtime: RuntimeConfig) -> EvaluationReport:
    """One evaluation from data to report.

    Args:
        config: what is evaluated.
        name: its preset.
        seed: every random choice follows from it.
        runtime: storage, workers and so on, none of which changes a result.

    Raises:
        UserError: anything wrong with the input.
    """
    started, progress = time.perf_counter(), Progress(workers=1)
    config = with_precision(config, runtime.gpus_per_worker)
    check_evaluation(config)
    check_runtime(runtime)
    if not config.uap.references:
        raise UserError(
            "uap.references: expected with an evaluation, whose tables compare the UAPs with them; leave it on",
            argument="uap.references",
        )
    paths = resolve(runtime)
    check_report(paths.report)
    dataset = load_images(config.data, paths)
    pool = load_pool(config, lambda other: load_images(other, paths))
    if pool is not None and pool.note:
        dataset = replace(dataset, note=join_notes(dataset.note, f"of knockoff's images: {pool.note}"))
    plan = make_plan(config, seed, dataset, pool)
    evaluation = EvaluationRun(plan, name, dataset, Store(paths.storage), paths, runtime, pool, progress)
    report = evaluation.report()
    if report.environment is None:  # by earlier code, which kept neither; so below
        report = replace(report, environment=from_json(Environment, environment()))
    if report.wall_seconds is None:
        report = replace(report, wall_seconds=round(time.perf_counter() - started, 2))
    write_report(paths.report, report)
    return report


@dataclass(frozen=True)
class EvaluationRun:
    """One evaluation and where it runs."""

    plan: Plan
    preset: str
    dataset: Dataset
    store: Store
    paths: ResolvedPaths
    runtime: RuntimeConfig
    knockoff_pool: Dataset | None = None
    progress: Progress = field(default_factory=lambda: Progress(workers=1))

    def report(self) -> EvaluationReport:
        """The stored report where nothing is left to do, else that of `evaluate`."""
        self.store.remove_leftovers()
        self._keep_splits()
        if (report := self._already_reported()) is not None:
            return report
        n_models = len(self.plan.members)
        self.progress.say(f"{self.preset}, seed {self.plan.seed}: {n_models} models, storage {self.paths.storage}")
        stored = stored_specs(self.store, self.plan.specs)
        complete = all(stored(spec) for spec in self.plan.specs)
        settings = {"preset": self.preset, "data_note": self.dataset.note, **environment()}
        if complete or self.runtime.workers == 0:
            return self._serial(settings, complete).body
        return self._on_ray(settings).body

    def _begin(self, room: WorkerRoom) -> None:
        """Say what it costs, then keep what it consists of: nothing of an evaluation that is refused."""
        plan = self.plan
        siblings = [member.spec for member in members_of(plan.members, Role.SIBLING)]
        cost = partial(cost_of, plan.specs, siblings, judging=judging_seconds(plan.config))
        context = TaskContext(self.store, self.paths.data_root, torch.device("cpu"), self.dataset)
        if said := in_other_precision(plan.config, self.store, self._specs_of):
            self.progress.say(said)
        say_cost(cost, context, room, self.runtime.max_hours, self.progress)
        self._keep_plan()

    def _specs_of(self, config: Config) -> tuple[Spec, ...]:
        return make_plan(config, self.plan.seed, self.dataset, self.knockoff_pool).specs

    def _keep_plan(self) -> None:
        flags = evaluation_flags(self.preset, self.plan.seed, self.plan.config)
        store_plan(self.store, self.plan, self.preset, flags)

    def _keep_splits(self) -> None:
        """Index files and their digests, once per split."""
        key = content_id(self.plan.data)
        if not self.store.intact("splits", key):
            splits = make_splits(self.dataset, self.plan.data)
            self.store.put(
                "splits", key, vars(splits), {"digests": splits.digests(), "data": wire_form(self.plan.data)}
            )

    def _already_reported(self) -> EvaluationReport | None:
        """The stored report, or that of the same evaluation by all methods, which holds every row of this one."""
        for plan in (self.plan, replace(self.plan, config=with_all_methods(self.plan.config))):
            if (report := _finished(plan, self.store)) is None:
                continue
            more = "" if plan == self.plan else ", judged by all methods"
            self.progress.say(f"everything is in the store already{more}: no model was trained")
            self._show(plan.id)
            counts = report.models
            assert counts is not None
            return replace(report, models=replace(counts, trained=0, reused=counts.trained + counts.reused))
        return None

    def _show(self, evaluation: str) -> None:
        """Bring MLflow up to a stored report."""
        publication = Publication.from_artifact(self.store.get(KIND, evaluation))
        tracker = open_tracker(self.paths)
        try:
            if tracker.find_run(evaluation, publication.digest) is None:
                publish(publication, tracker, patience())
            if page := tracker.page():
                self.progress.say(where_shown(page))
        except (ConnectionError, UserError) as error:
            self.progress.say(f"{error}; the report is in the store, the same command shows it there later")

    def _serial(self, settings: dict[str, str], complete: bool) -> Report:
        """All of it in this process; `complete`: it is judged only, whose cost is not asked for."""
        torch.set_num_threads(1)
        device = own_device(self.runtime)
        if complete:
            self._keep_plan()
        else:
            self._begin(WorkerRoom.here(device))
        pool = SerialPool(partial(perform_task, TaskContext(self.store, self.paths.data_root, device)))
        judged = partial(self.progress.step, "judge")
        evaluator = Evaluator(self.plan, self.store, open_tracker(self.paths), on_progress=judged, device=device)
        with closing_run(evaluator.close):
            return evaluate(self.plan, self.store, pool, evaluator, self.progress, settings)

    def _on_ray(self, settings: dict[str, str]) -> Report:
        """Models on Ray's workers, the evaluator in an actor."""
        default_auth_mode(self.runtime.address)
        from uapfp_dist.cluster.central_evaluator import CentralEvaluator  # Ray takes seconds to import
        from uapfp_dist.cluster.session import session

        plan, store, paths, progress = self.plan, self.store, self.paths, self.progress
        with session(self.runtime.address) as machine:
            progress.say(f"ray: {machine.cpus} CPUs and {machine.gpus:g} GPUs" + ", and what joins" * machine.elastic)
            self._begin(WorkerRoom.on_ray(machine, self.runtime))
            make_tracker: Callable[[], Tracker] = partial(open_tracker, paths)
            gpus = 0.0 if self.runtime.gpus_per_worker == 0 else 1.0
            bound = BOUND.format(paths.mlflow_uri) if paths.mlflow_is_here else ""
            evaluator = CentralEvaluator(plan, paths.storage, store.write_marker(), make_tracker, progress, gpus, bound)
            with (
                ray_pool(machine, self.runtime, paths, store, plan.data, progress) as pool,
                closing_run(evaluator.close),
            ):
                settings = {**settings, "cluster": f"{machine.cpus} CPUs, {machine.gpus:g} GPUs"}
                return evaluate(plan, store, pool, evaluator, progress, settings)


def _finished(plan: Plan, store: Store) -> EvaluationReport | None:
    """The stored report, if nothing is left to do: every artifact is whole, or no further try could make it, and what
    is published is what today's code would show."""
    if not store.intact(KIND, plan.id) or not store.intact("report", plan.id):
        return None
    if Publication.from_artifact(store.get(KIND, plan.id)).version < VERSION:
        return None
    report = read_report(store.get("report", plan.id).info)
    failed = {failure.id for failure in report.failures}
    wanted = [spec for spec in plan.specs if spec.id not in failed]
    stored = stored_specs(store, wanted)
    return report if is_final(report.failures) and all(stored(spec) for spec in wanted) else None
