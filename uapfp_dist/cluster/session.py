"""Connect to Ray, or start it here, and leave it as it was."""

import contextlib
import logging
import os
import signal
import socket
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import ray

from uapfp_dist.errors import UserError

# One thread per process: workers are processes, and the order of a parallel sum must not change a result.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Machine:
    """What the cluster has."""

    cpus: int
    gpus: float


@contextlib.contextmanager
def session(address: str | None) -> Iterator[Machine]:
    """A Ray session: the cluster at `address`, the one this job was submitted to, or a local one of our own.

    Raises:
        UserError: no cluster there.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    on_terminate = signal.getsignal(signal.SIGTERM)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray warns about its own future
        try:
            _knock(address)
            ray.init(
                address=address or "local",
                include_dashboard=None if address else False,
                runtime_env={"env_vars": ONE_THREAD},
                logging_level=logging.ERROR,
                log_to_driver=False,
                configure_logging=True,
            )
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            cause = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"ray: expected a cluster at {address or 'this machine'}, could not reach it ({cause}); "
                "check --address and RAY_AUTH_MODE / the auth token, or leave --address out to run here"
            ) from error
    signal.signal(signal.SIGTERM, on_terminate)  # Ray puts its own in its place
    try:
        resources = ray.cluster_resources()
        yield Machine(int(resources.get("CPU", 1)), float(resources.get("GPU", 0)))
    finally:
        ray.shutdown()


def _knock(address: str | None) -> None:
    """Ray tries for minutes where nobody listens; a refused connection is known at once."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10.0).close()


def workers_for(machine: Machine, workers: int | None, gpus_per_worker: float | None) -> tuple[int, float]:
    """(workers, GPU share of each): one per GPU where there are GPUs, else one per CPU, unless told otherwise.

    Raises:
        UserError: more than the cluster has.
    """
    gpus = gpus_per_worker if gpus_per_worker is not None else (1.0 if machine.gpus else 0.0)
    if gpus > 0 and machine.gpus <= 0:
        raise UserError(
            f"gpus-per-worker: expected a cluster with GPUs for {gpus:g} each, it has none; leave the option out"
        )
    if gpus > machine.gpus or (gpus > 1 and gpus % 1):
        raise UserError(
            f"gpus-per-worker: expected a share of one GPU or a whole number up to {machine.gpus:g}, got {gpus:g}"
        )
    most = machine.cpus
    if gpus:  # no share is cut in two: 0.4 goes twice into each GPU
        fit = machine.gpus // gpus if gpus >= 1 else int(machine.gpus) * int(1 / gpus + 1e-9)
        most = min(most, int(fit))
    if workers is not None and workers > most:
        raise UserError(
            f"workers: expected at most {most} ({machine.cpus} CPUs, {machine.gpus:g} GPUs), got {workers}; "
            "ask for fewer or add nodes"
        )
    return (workers if workers is not None else most), gpus
