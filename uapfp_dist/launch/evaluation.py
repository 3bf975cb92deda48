"""One evaluation, from a configuration to a report."""

import shlex
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from uapfp_dist.central.evaluate import evaluate, is_final
from uapfp_dist.central.evaluator import Evaluator
from uapfp_dist.config.runtime import ResolvedPaths, RuntimeConfig, check_runtime, resolve
from uapfp_dist.config.schema import Config
from uapfp_dist.config.validation import check
from uapfp_dist.data import Dataset, load
from uapfp_dist.data.splits import make_splits
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan, make_plan
from uapfp_dist.evaluation.state import store_plan
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.execution.stored import stored_specs
from uapfp_dist.launch.environment import environment
from uapfp_dist.launch.report_file import check_report, write_report
from uapfp_dist.launch.tracker import closing_run, open_tracker
from uapfp_dist.launch.workers import default_auth_mode, ray_pool
from uapfp_dist.progress import Progress
from uapfp_dist.reporting.report import Report
from uapfp_dist.reporting.report_schema import Environment, EvaluationReport
from uapfp_dist.reporting.summary import summary
from uapfp_dist.serialization import from_json
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.executor import SerialPool
from uapfp_dist.tasks.hashing import content_id
from uapfp_dist.tracking.publication import KIND, Publication, patience, publish
from uapfp_dist.tracking.tracker import Tracker


def run(config: Config, name: str, seed: int, runtime: RuntimeConfig) -> EvaluationReport:
    """One evaluation from data to report.

    Raises:
        UserError: anything wrong with the input.
    """
    started = time.perf_counter()
    check(config)
    check_runtime(runtime)
    if not config.uap.references:
        raise UserError("references: expected with an evaluation, whose tables compare the UAPs with them; leave it on")
    paths = resolve(runtime)
    check_report(paths.report)
    dataset = load(config.data.name, paths.data_root, config.data.n_classes)
    plan = make_plan(config, seed, dataset)
    store = Store(paths.storage)
    store.remove_leftovers()
    _keep_splits(store, plan, dataset)
    store_plan(store, plan, name)
    progress = Progress(workers=1)
    report = _finished(plan, store)
    if report is None:
        progress.say(f"{name}, seed {seed}: {len(plan.members)} models, storage {paths.storage}")
        settings = {"preset": name, "data_note": dataset.note, **environment()}
        report = _evaluate(plan, store, paths, runtime, progress, settings).body
    else:
        progress.say("everything is in the store already: no model was trained")
        _show(plan, store, paths, progress)
        counts = report.models
        assert counts is not None
        report = replace(report, models=replace(counts, trained=0, reused=counts.trained + counts.reused))
    seconds = round(time.perf_counter() - started, 2)
    report = replace(report, wall_seconds=seconds, environment=from_json(Environment, environment()))
    write_report(paths.report, report)
    _print_end(report, paths)
    return report


def _finished(plan: Plan, store: Store) -> EvaluationReport | None:
    """The stored report, if nothing is left to do: every artifact is whole, or no further try could make it."""
    if not store.intact(KIND, plan.id) or not store.intact("report", plan.id):
        return None
    report = from_json(EvaluationReport, store.get("report", plan.id).info)
    failed = {failure.id for failure in report.failures}
    wanted = [spec for spec in plan.specs if spec.id not in failed]
    stored = stored_specs(store, wanted)
    return report if is_final(report.failures) and all(stored(spec) for spec in wanted) else None


def _show(plan: Plan, store: Store, paths: ResolvedPaths, progress: Progress) -> None:
    """Bring MLflow up to the stored report."""
    publication = Publication.from_artifact(store.get(KIND, plan.id))
    tracker = open_tracker(paths)
    try:
        if tracker.find_run(plan.id, publication.digest) is None:
            publish(publication, tracker, patience())
    except (ConnectionError, UserError) as error:
        progress.say(f"{error}; the report is in the store, the same command shows it there later")


def _evaluate(
    plan: Plan, store: Store, paths: ResolvedPaths, runtime: RuntimeConfig, progress: Progress, settings: dict[str, str]
) -> Report:
    """Here where there is nothing to train or no Ray is wanted, else on Ray."""
    stored = stored_specs(store, plan.specs)
    if runtime.workers == 0 or all(stored(spec) for spec in plan.specs):
        return _serial(plan, store, paths, progress, settings)
    return _on_ray(plan, store, paths, runtime, progress, settings)


def _serial(plan: Plan, store: Store, paths: ResolvedPaths, progress: Progress, settings: dict[str, str]) -> Report:
    torch.set_num_threads(1)
    context = TaskContext(store, paths.data_root, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    evaluator = Evaluator(plan, store, open_tracker(paths), on_progress=partial(progress.step, "judge"))
    with closing_run(evaluator.close):
        return evaluate(plan, store, SerialPool(partial(perform_task, context)), evaluator, progress, settings)


def _on_ray(
    plan: Plan, store: Store, paths: ResolvedPaths, runtime: RuntimeConfig, progress: Progress, settings: dict[str, str]
) -> Report:
    default_auth_mode(runtime.address)
    from uapfp_dist.cluster.central_evaluator import CentralEvaluator  # Ray takes seconds to import
    from uapfp_dist.cluster.session import session

    with session(runtime.address) as machine:
        progress.say(f"ray: {machine.cpus} CPUs and {machine.gpus:g} GPUs" + ", and what joins" * machine.elastic)
        make_tracker: Callable[[], Tracker] = partial(open_tracker, paths)
        evaluator = CentralEvaluator(plan, paths.storage, store.write_marker(), make_tracker, progress)
        with ray_pool(machine, runtime, paths, store, plan.data, progress) as pool, closing_run(evaluator.close):
            settings = {**settings, "cluster": f"{machine.cpus} CPUs, {machine.gpus:g} GPUs"}
            return evaluate(plan, store, pool, evaluator, progress, settings)


def _keep_splits(store: Store, plan: Plan, dataset: Dataset) -> None:
    """Index files and their digests, once per split."""
    key = content_id(plan.data)
    if not store.intact("splits", key):
        splits = make_splits(dataset, plan.data)
        store.put("splits", key, vars(splits), {"digests": splits.digests(), "data": vars(plan.data)})


def _print_end(report: EvaluationReport, paths: ResolvedPaths) -> None:
    """The end of the job: a short table, where the report lies, how to open the page."""
    print(f"\n{summary(report)}\n")
    models = report.models
    assert models is not None
    print(
        f"{models.trained} models trained, {models.reused} reused, {models.failed} failed; "
        f"{report.wall_seconds:.0f} s. "
        f"Artifacts: {paths.storage}"
    )
    if paths.report is not None:
        print(f"Report: {paths.report}")
    served = paths.mlflow_uri.startswith("http")
    opened = paths.mlflow_uri if served else f"mlflow ui --backend-store-uri {shlex.quote(paths.mlflow_uri)}"
    print(f"Tables, figures and report.html: {opened}")
    print("(in the page: experiment uapfp_dist, 'Model training', Runs)", flush=True)
