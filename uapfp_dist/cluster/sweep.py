"""Trials of a grid on Ray Tune, and the central actor that alone writes their results to the tracker."""

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import ray
import torch
from ray import tune
from ray.exceptions import GetTimeoutError, RayError
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig, Tuner
from ray.tune.experiment import Trial

from uapfp_dist.cluster.central import DEATHS, central
from uapfp_dist.errors import MismatchError, UserError
from uapfp_dist.pipeline.grid import Cell
from uapfp_dist.pipeline.recorder import Recorder
from uapfp_dist.pipeline.trials import Trials
from uapfp_dist.progress import Progress
from uapfp_dist.runtime import Tracker
from uapfp_dist.store import shared_store

MAX_FAILURES = 3
"""Workers that may die over one trial."""
BEGIN_SECONDS, RECORD_SECONDS, CLOSE_SECONDS = 300.0, 60.0, 5.0
POLL_SECONDS = 1.0
SETTINGS = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the central actor writes, nobody else
    "RAY_AIR_NEW_OUTPUT": "0",  # nor does Tune print: progress is ours
    "TUNE_GLOBAL_CHECKPOINT_S": "2",  # seconds of finished trials that a killed driver forgets; the store does not
}


class _Trial(tune.Trainable):
    """One process with one thread that runs one cell after the other; the answers stay at hand."""

    def setup(self, config: dict[str, Any], cells: dict[str, Cell], storage: str, mark: str, recorder: Any) -> None:  # type: ignore[override]
        torch.set_num_threads(1)
        try:
            store = shared_store(storage, mark)
        except MismatchError as error:
            raise MismatchError(f"node {ray.util.get_node_ip_address()}: {error}") from error
        self._cells, self._recorder, self._trials = cells, recorder, Trials(store)
        self._name: str = config["cell"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._name = new_config["cell"]
        return True

    def step(self) -> dict[str, Any]:
        result = self._trials.run(self._cells[self._name])
        # Whatever the actor does not hear now, it reads from the store at the end.
        with contextlib.suppress(RayError):
            ray.get(self._recorder.call.remote("record", result), timeout=RECORD_SECONDS)
        return {"done": True, "fitted": result.fitted}


class _Actor:
    """Runs the recorder; a user's error comes back as a value."""

    def __init__(self, cells: Sequence[Cell], storage: str, mark: str, tracker: Callable[[], Tracker]) -> None:
        self._make = lambda: Recorder(cells, shared_store(storage, mark), tracker())
        self._recorder: Recorder | None = None

    def call(self, name: str, *arguments: Any) -> Any:
        """`Recorder.<name>(*arguments)`, one call after the other."""
        try:
            self._recorder = self._recorder or self._make()
            return getattr(self._recorder, name)(*arguments)
        except UserError as error:
            return error

    @ray.method(concurrency_group="watch")
    def done(self) -> tuple[int, int]:
        """Trials recorded and trials in all; answered while `call` is at work."""
        return self._recorder.done() if self._recorder else (0, 0)


class RayRecorder:
    """The recorder's methods, answered by an actor. One that died is replaced at the end: results are in the store.

    Args:
        cells: the grid.
        storage: the store's URL.
        mark: that the driver left there.
        tracker: makes the tracker, inside the actor.
    """

    def __init__(self, cells: Sequence[Cell], storage: str, mark: str, tracker: Callable[[], Tracker]) -> None:
        remote = central(_Actor)
        self._make = lambda: remote.remote(cells, storage, mark, tracker)
        self.actor: Any = self._make()
        self._begun: tuple[Any, ...] = ()

    def begin(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        """As `Recorder.begin`."""
        self._begun = (params, tags)
        try:
            return str(self._call("begin", params, tags, timeout=BEGIN_SECONDS))
        except GetTimeoutError as error:
            raise UserError(
                f"mlflow: expected the tracker to open a run within {BEGIN_SECONDS:g} s, it did not; is it reachable "
                "from the cluster's nodes? check --mlflow-uri"
            ) from error

    def done(self) -> tuple[int, int]:
        """Trials recorded and trials in all."""
        found: tuple[int, int] = ray.get(self.actor.done.remote(), timeout=RECORD_SECONDS)
        return found

    def finish(self, died: Mapping[str, str], context: Mapping[str, Any]) -> dict[str, Any]:
        """As `Recorder.finish`."""
        try:
            body: dict[str, Any] = self._call("finish", died, context)
        except DEATHS:
            ray.kill(self.actor)  # it may only have been out of reach, and there is one writer at a time
            self.actor = self._make()
            self._call("begin", *self._begun, timeout=BEGIN_SECONDS)
            body = self._call("finish", died, context)
        return body

    def publish(self) -> str:
        """As `Recorder.publish`."""
        try:
            return str(self._call("publish"))
        except DEATHS as error:
            return f"the recorder died while it showed the grid ({str(error).splitlines()[0]})"

    def _call(self, name: str, *arguments: Any, timeout: float | None = None) -> Any:
        found = ray.get(self.actor.call.remote(name, *arguments), timeout=timeout)
        if isinstance(found, UserError):
            raise found
        return found

    def close(self, status: str) -> None:
        """Close the run and end the actor."""
        with contextlib.suppress(GetTimeoutError, *DEATHS):
            self._call("close", status, timeout=CLOSE_SECONDS)
        ray.kill(self.actor)


def tune_trials(
    cells: Sequence[Cell],
    storage: str,
    mark: str,
    recorder: RayRecorder,
    experiment: str,
    workers: int | None,
    progress: Progress,
) -> dict[str, str]:
    """Run every cell that an earlier run of the same experiment has not finished; one CPU and one thread each.

    Args:
        cells: the grid.
        storage: the store's URL.
        mark: that the driver left there; a node that does not see it runs nothing.
        recorder: told by the trials.
        experiment: absolute path of the folder of Tune's state; found again, it is resumed from.
        workers: trials at a time; None: as many as there are CPUs, also those that join later.
        progress: told how many are done.

    Returns:
        Cell to what killed its trial, for those that died every time.

    Raises:
        UserError: a node sees another storage than the driver.
    """
    os.environ.update({key: value for key, value in SETTINGS.items() if key not in os.environ})
    named = {cell.name: cell for cell in cells}
    work = tune.with_parameters(_Trial, cells=named, storage=storage, mark=mark, recorder=recorder.actor)
    tuner = _tuner(tune.with_resources(work, {"cpu": 1}), list(named), experiment, workers)
    with _watched(recorder, progress):
        results = tuner.fit()
    ended = [results[i] for i in range(len(results))]
    died = {trial.config["cell"]: _cause(trial.error) for trial in ended if trial.error is not None and trial.config}
    if blind := [cause for cause in died.values() if MismatchError.__name__ in cause]:
        raise UserError(blind[0].rpartition(f"{MismatchError.__name__}: ")[2])
    return died


def _tuner(trial: Any, names: list[str], experiment: str, workers: int | None) -> Tuner:
    if Tuner.can_restore(experiment):
        try:
            return Tuner.restore(experiment, trial, restart_errored=True)
        except Exception:  # killed while it was written, or written by another version: the store knows as much
            shutil.rmtree(experiment, ignore_errors=True)
    folder, name = os.path.split(experiment)
    return Tuner(
        trial,
        param_space={"cell": tune.grid_search(names)},
        tune_config=TuneConfig(max_concurrent_trials=workers, reuse_actors=True, trial_dirname_creator=_trial_folder),
        run_config=RunConfig(
            name=name,
            storage_path=folder,
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )


def _trial_folder(trial: Trial) -> str:
    return str(trial.trial_id)


def _cause(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"


@contextlib.contextmanager
def _watched(recorder: RayRecorder, progress: Progress) -> Iterator[None]:
    """Progress shows the trials while Tune has the main thread."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(POLL_SECONDS):
            with contextlib.suppress(RayError):
                progress.step("trials", *recorder.done())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(POLL_SECONDS)
