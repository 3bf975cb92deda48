"""Run an evaluation with the surroundings a person asked for: storage, data, workers, Ray, MLflow."""

import json
import logging
import math
import os
import platform
import shlex
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch

from uapfp_dist.config import Config, check
from uapfp_dist.errors import UserError, known, printable
from uapfp_dist.pipeline.arbiter import Arbiter
from uapfp_dist.pipeline.evaluate import evaluate, is_final, stored_in
from uapfp_dist.pipeline.plan import Plan, make_plan
from uapfp_dist.pipeline.publish import KIND, Publication, patience, publish
from uapfp_dist.pipeline.report import Report, summary
from uapfp_dist.pipeline.state import keep_plan
from uapfp_dist.pipeline.steps import perform
from uapfp_dist.pipeline.workbench import Workbench
from uapfp_dist.progress import Progress
from uapfp_dist.runtime import Pool, SerialPool, Tracker
from uapfp_dist.science.data import Dataset, load
from uapfp_dist.science.data.splits import make_splits
from uapfp_dist.science.zoo import ARCHITECTURES
from uapfp_dist.science.zoo.own import is_import_path
from uapfp_dist.specs import DataSpec, content_id
from uapfp_dist.store import Store


@dataclass(frozen=True)
class Surroundings:
    """Everything that does not change a result."""

    storage: str | None = None
    """Folder or fsspec URL of artifacts (default: $UAPFP_STORAGE, else ./results). Running again resumes from it."""
    data_root: Path | None = None
    """Folder of the images (default: $UAPFP_DATA); not needed for digits."""
    workers: int | None = None
    """Worker processes at most (default: as many as the cluster has room for, also as nodes join); 0 runs everything in
    this process, without Ray."""
    gpus_per_worker: float | None = None
    """GPU share of each worker (default: by architecture where the cluster has GPUs, a quarter for A-E and a whole one
    for larger nets, else 0). Above 0 on a cluster that has no GPU yet asks its autoscaler for them."""
    gpu_shares: tuple[str, ...] = ()
    """GPU shares of single architectures where those defaults do not suit your GPUs, as NAME=SHARE: resnet18=0.5 A=0.1.
    A model that is stolen or modified has the share of the largest net that it is made from."""
    address: str | None = None
    """Ray cluster to use (default: $RAY_ADDRESS, else a local one that ends with the job)."""
    mlflow_uri: str | None = None
    """MLflow tracking URI (default: $MLFLOW_TRACKING_URI, else a sqlite file beside the artifacts)."""
    report: Path | None = None
    """Also write the report as JSON to this file."""
    spec_timeout: float | None = None
    """Seconds after which one model counts as hung (default: an hour for the small nets A-E, a day for larger ones)."""


@dataclass(frozen=True)
class Places:
    """Surroundings with every default filled in."""

    storage: str
    data_root: Path | None
    mlflow_uri: str
    artifacts: str | None
    report: Path | None


def settle(s: Surroundings) -> Places:
    """Fill in the defaults. A submitted job works in a copy that is deleted: there, relative paths begin at home."""
    base = Path.home() / "uapfp_dist" if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ else Path.cwd()
    storage = (s.storage or os.environ.get("UAPFP_STORAGE") or "results").removeprefix("file://")
    if "://" not in storage:
        storage = str(base / Path(storage).expanduser())
    root = s.data_root or (Path(os.environ["UAPFP_DATA"]) if os.environ.get("UAPFP_DATA") else None)
    uri = s.mlflow_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if uri is None and "://" in storage:
        raise UserError(f"mlflow: with storage at {storage} expected --mlflow-uri, got none; name a tracking server")
    uri = uri or f"sqlite:///{storage}/mlflow.db"
    # MLflow's own default for a database is ./mlruns of whoever writes: in a submitted job, a folder that is deleted.
    beside = uri.startswith("sqlite:") and "://" not in storage
    return Places(
        storage,
        root.expanduser().resolve() if root else None,
        uri,
        Path(storage, "mlflow-artifacts").as_uri() if beside else None,
        base / s.report.expanduser() if s.report else None,
    )


def run(config: Config, name: str, seed: int, surroundings: Surroundings) -> dict[str, Any]:
    """One evaluation from data to report; returns the report's JSON.

    Raises:
        UserError: anything wrong with the input.
    """
    started = time.perf_counter()
    check(config)
    check_numbers(surroundings)
    if not config.uap.references:
        raise UserError("references: expected with an evaluation, whose tables compare the UAPs with them; leave it on")
    places = settle(surroundings)
    check_report(places.report)
    dataset = load(config.data.name, places.data_root, config.data.n_classes)
    plan = make_plan(config, seed, dataset)
    store = Store(places.storage)
    store.collect()
    _keep_splits(store, plan, dataset)
    keep_plan(store, plan, name)
    progress = Progress(workers=1)
    body = _finished(plan, store)
    if body is None:
        progress.say(f"{name}, seed {seed}: {len(plan.members)} models, storage {places.storage}")
        settings = {"preset": name, "data_note": dataset.note, **environment()}
        body = _evaluate(plan, store, places, surroundings, progress, settings).body
    else:
        progress.say("everything is in the store already: no model was trained")
        _show(plan, store, places, progress)
        counts = body["models"]
        body["models"] = {"trained": 0, "reused": counts["trained"] + counts["reused"], "failed": counts["failed"]}
    body["wall_seconds"] = round(time.perf_counter() - started, 2)
    body["environment"] = environment()
    write_report(places.report, body)
    _tell(body, places)
    return body


def _finished(plan: Plan, store: Store) -> dict[str, Any] | None:
    """The stored report, if nothing is left to do: every artifact is whole, or no further try could make it."""
    if not store.intact(KIND, plan.id) or not store.intact("report", plan.id):
        return None
    body = store.get("report", plan.id).info
    failed = {failure["id"] for failure in body["failures"]}
    wanted = [spec for spec in plan.specs if spec.id not in failed]
    stored = stored_in(store, wanted)
    return body if is_final(body) and all(stored(spec) for spec in wanted) else None


def _show(plan: Plan, store: Store, places: Places, progress: Progress) -> None:
    """Bring MLflow up to the stored report."""
    publication = Publication.of(store.get(KIND, plan.id))
    tracker = tracker_at(places)
    try:
        if tracker.find(plan.id, publication.digest) is None:
            publish(publication, tracker, patience())
    except (ConnectionError, UserError) as error:
        progress.say(f"{error}; the report is in the store, the same command shows it there later")


def tracker_at(places: Places) -> Tracker:
    """MLflow at its place; nothing is sent yet."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines for every suspect
    from uapfp_dist.tracking import MlflowTracker  # two seconds of import that --help should not wait for

    for name in ("alembic", "mlflow"):  # they set their own levels when imported
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowTracker(places.mlflow_uri, places.artifacts)


def _evaluate(
    plan: Plan, store: Store, places: Places, s: Surroundings, progress: Progress, settings: dict[str, Any]
) -> Report:
    """Here where there is nothing to train or no Ray is wanted, else on Ray."""
    stored = stored_in(store, plan.specs)
    if s.workers == 0 or all(stored(spec) for spec in plan.specs):
        return _serial(plan, store, places, progress, settings)
    return _on_ray(plan, store, places, s, progress, settings)


def _serial(plan: Plan, store: Store, places: Places, progress: Progress, settings: dict[str, Any]) -> Report:
    torch.set_num_threads(1)
    bench = Workbench(store, places.data_root, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    arbiter = Arbiter(plan, store, tracker_at(places), told=partial(progress.step, "judge"))
    with closing(arbiter.close):
        return evaluate(plan, store, SerialPool(partial(perform, bench)), arbiter, progress, settings)


def _on_ray(
    plan: Plan, store: Store, places: Places, s: Surroundings, progress: Progress, settings: dict[str, Any]
) -> Report:
    settle_token(s.address)
    from uapfp_dist.cluster.arbiter import RayArbiter  # Ray takes seconds to import
    from uapfp_dist.cluster.session import session

    with session(s.address) as machine:
        progress.say(f"ray: {machine.cpus} CPUs and {machine.gpus:g} GPUs" + ", and what joins" * machine.elastic)
        make_tracker: Callable[[], Tracker] = partial(tracker_at, places)
        arbiter = RayArbiter(plan, places.storage, store.leave_mark(), make_tracker, progress)
        with ray_pool(machine, s, places, store, plan.data, progress) as pool, closing(arbiter.close):
            settings = {**settings, "cluster": f"{machine.cpus} CPUs, {machine.gpus:g} GPUs"}
            return evaluate(plan, store, pool, arbiter, progress, settings)


def settle_token(address: str | None) -> None:
    """Before Ray is imported: a local session of our own needs no token; where there is a cluster, it decides."""
    if not (address or os.environ.get("RAY_ADDRESS")):
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")


@contextmanager
def ray_pool(
    machine: Any, s: Surroundings, places: Places, store: Store, data: DataSpec, progress: Progress
) -> Iterator[Pool]:
    """Workers on a Ray session's `machine`, each of which proves that it sees the storage and these images."""
    from uapfp_dist.cluster.packing import seconds_for, shares  # Ray takes seconds to import
    from uapfp_dist.cluster.pool import RayPool
    from uapfp_dist.cluster.worker import open_bench

    opening = partial(open_bench, places.storage, places.data_root, store.leave_mark(), data)
    share = shares(machine, s.workers, s.gpus_per_worker, gpu_shares(s))
    limit = s.spec_timeout
    limits = seconds_for if limit is None else lambda spec: limit
    pool = RayPool(opening, share, limits, s.workers, machine.elastic, progress)
    try:
        yield pool
    finally:
        pool.close()


@contextmanager
def closing(close: Callable[[str], Any]) -> Iterator[None]:
    """Close the run as what it came to."""
    try:
        yield
    except KeyboardInterrupt:
        close("KILLED")
        raise
    except BaseException:
        close("FAILED")
        raise
    close("FINISHED")


def _keep_splits(store: Store, plan: Plan, dataset: Dataset) -> None:
    """Index files and their digests, once per split."""
    key = content_id(plan.data)
    if not store.intact("splits", key):
        splits = make_splits(dataset, plan.data)
        store.put("splits", key, vars(splits), {"digests": splits.digests(), "data": vars(plan.data)})


def environment() -> dict[str, str]:
    """Versions and hardware, for tags and reports."""
    packages = {name: version(name) for name in ("torch", "ray", "mlflow", "numpy", "scikit-learn")}
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    return {
        "python": platform.python_version(),
        **packages,
        "cpus": str(os.cpu_count()),
        "machine": platform.machine(),
        "gpu": gpu,
    }


def check_numbers(s: Surroundings) -> None:
    if s.workers is not None and s.workers < 0:
        raise UserError(f"workers: expected 0 (no Ray) or more, got {s.workers}; leave it out for one per CPU or GPU")
    if s.gpus_per_worker is not None and not s.gpus_per_worker >= 0:
        raise UserError(f"gpus-per-worker: expected 0 (CPU) or a share of a GPU, got {s.gpus_per_worker:g}")
    if (gpu_shares(s) or s.gpus_per_worker) and s.workers == 0:
        raise UserError("workers: expected 1 or more with shares of GPUs, got 0, which is this process; leave one out")
    if s.spec_timeout is not None and not s.spec_timeout > 0:
        raise UserError(f"spec-timeout: expected seconds above 0, got {s.spec_timeout:g}")


def gpu_shares(s: Surroundings) -> dict[str, float]:
    """Architecture to its share of a GPU, of those that were given.

    Raises:
        UserError: not of the form NAME=SHARE, an unknown name, or no share.
    """
    if s.gpu_shares and s.gpus_per_worker is not None:
        raise UserError(
            "gpu-shares: expected without --gpus-per-worker, which is for all nets, got both; leave one out"
        )
    found = {}
    for text in s.gpu_shares:
        name, _, share = text.rpartition("=")
        try:
            found[name] = float(share)
        except ValueError:
            found[name] = math.nan
        if not (name and 0 < found[name] < math.inf):
            raise UserError(f"gpu-shares: expected NAME=SHARE with a share above 0, got {text!r}; such as resnet18=0.5")
        if not (is_import_path(name) or name in ARCHITECTURES):
            raise known("architecture in --gpu-shares", name, ARCHITECTURES)
    return found


def check_report(path: Path | None) -> None:
    if path is None:
        return
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise UserError(f"report: expected a file, {path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise UserError(f"report: expected an existing folder for {path}, found none; make it or name another file")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"report: expected a folder that can be written for {path}; name another file")


def write_report(path: Path | None, body: dict[str, Any]) -> None:
    if path is not None:
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(json.dumps(body, indent=1))
        temporary.replace(path)


def _tell(body: dict[str, Any], places: Places) -> None:
    """The end of the job: a short table, where the report lies, how to open the page."""
    print(f"\n{summary(body)}\n")
    models, seconds = body["models"], body["wall_seconds"]
    print(
        f"{models['trained']} models trained, {models['reused']} reused, {models['failed']} failed; {seconds:.0f} s. "
        f"Artifacts: {places.storage}"
    )
    if places.report is not None:
        print(f"Report: {places.report}")
    served = places.mlflow_uri.startswith("http")
    opened = places.mlflow_uri if served else f"mlflow ui --backend-store-uri {shlex.quote(places.mlflow_uri)}"
    print(f"Tables, figures and report.html: {opened}")
    print("(in the page: experiment uapfp_dist, 'Model training', Runs)", flush=True)


def main(job: Callable[[], object]) -> NoReturn:
    """Run a job as a command: one line and exit code 2 for bad input, 130 after Ctrl-C, 1 for a defect of ours."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        job()
    except UserError as error:
        # It may quote a suspect, or a file that came from elsewhere.
        print(f"{Path(sys.argv[0]).stem}: error: {printable(str(error))}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted; the same command resumes where this one stopped", file=sys.stderr, flush=True)
        if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
            sys.stdout.flush()
            os._exit(130)  # fits of encoders are under way: Python would wait for them
        raise SystemExit(130) from None
    raise SystemExit(0)


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
