"""Trials of a grid on Ray Tune."""

import contextlib
import os
import shutil
import threading
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import ray
import torch
from ray import tune
from ray.exceptions import RayError
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig, Tuner
from ray.tune.experiment import Trial

from uapfp_dist.cluster.central_recorder import CentralRecorder
from uapfp_dist.errors import MismatchError, UserError
from uapfp_dist.evaluation.grid_cells import GridCell
from uapfp_dist.evaluation.trials import Trials
from uapfp_dist.file_lock import try_lock
from uapfp_dist.storage.store import shared_store

MAX_FAILURES = 3
"""Workers that may die over one trial."""
POLL_SECONDS = 1.0
RECORD_SECONDS = 60.0
SETTINGS = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the command handles Ctrl-C
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the central actor writes, nobody else
    "RAY_AIR_NEW_OUTPUT": "0",  # nor does Tune print: `Progress` does
    "TUNE_GLOBAL_CHECKPOINT_S": "2",  # seconds of finished trials that a killed driver forgets; the store does not
}


class _Trial(tune.Trainable):
    """One process with one thread that runs one cell after the other; the responses stay in memory."""

    def setup(  # type: ignore[override]
        self, config: dict[str, str], cells: dict[str, GridCell], storage: str, marker: str, recorder: Any
    ) -> None:
        torch.set_num_threads(1)
        try:
            store = shared_store(storage, marker)
        except MismatchError as error:
            raise MismatchError(f"node {ray.util.get_node_ip_address()}: {error}", argument=error.argument) from error
        self._cells, self._recorder, self._trials = cells, recorder, Trials(store)
        self._name = config["cell"]

    def reset_config(self, new_config: dict[str, str]) -> bool:
        self._name = new_config["cell"]
        return True

    def step(self) -> dict[str, int]:
        result = self._trials.run(self._cells[self._name])
        # What does not reach the actor now, it reads from the store at the end.
        with contextlib.suppress(RayError):
            ray.get(self._recorder.call.remote("record", result), timeout=RECORD_SECONDS)
        return {"done": True, "fitted": result.fitted}


def tune_trials(
    cells: Sequence[GridCell],
    storage: str,
    marker: str,
    recorder: CentralRecorder,
    experiment: str,
    workers: int | None,
) -> dict[str, str]:
    """Run every cell that an earlier run of the same experiment has not finished; one CPU and one thread each.

    Args:
        cells: the grid.
        storage: the store's URL.
        marker: that the driver wrote there; a node that does not see it runs nothing.
        recorder: receives the results of the trials, shows how many are done.
        experiment: absolute path of the folder of Tune's state; one that exists is resumed.
        workers: trials at a time; None: as many as there are CPUs, also those that join later.

    Returns:
        Cell to what killed its trial, for those that died every time.

    Raises:
        UserError: a node sees another storage than the driver.
    """
    os.environ.update({key: value for key, value in SETTINGS.items() if key not in os.environ})
    named = {cell.name: cell for cell in cells}
    work = tune.with_parameters(_Trial, cells=named, storage=storage, marker=marker, recorder=recorder.handle)
    with _folder_of_its_own(experiment) as folder:
        tuner = _tuner(tune.with_resources(work, {"cpu": 1}), list(named), folder, workers)
        with _watched(recorder):
            results = tuner.fit()
    ended = [results[i] for i in range(len(results))]
    died = {trial.config["cell"]: _cause(trial.error) for trial in ended if trial.error is not None and trial.config}
    if blind := [cause for cause in died.values() if MismatchError.__name__ in cause]:
        raise UserError(blind[0].rpartition(f"{MismatchError.__name__}: ")[2], argument="storage")
    return died


@contextlib.contextmanager
def _folder_of_its_own(experiment: str) -> Iterator[str]:
    """`experiment`; where another job on the same grid has it, another folder: the store knows what both have done."""
    os.makedirs(os.path.dirname(experiment), exist_ok=True)
    with open(f"{experiment}.lock", "w") as lock:
        if try_lock(lock):
            yield experiment
            return
        other = f"{experiment}-{uuid.uuid4().hex[:8]}"
        try:
            yield other
        finally:
            shutil.rmtree(other, ignore_errors=True)


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
def _watched(recorder: CentralRecorder) -> Iterator[None]:
    """Progress shows the trials while Tune has the main thread."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(POLL_SECONDS):
            with contextlib.suppress(RayError):
                recorder.show_progress()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(POLL_SECONDS)
