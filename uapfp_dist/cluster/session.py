"""A session on Ray: connect to a cluster, or start a local one."""

import contextlib
import logging
import os
import signal
import socket
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import ray
from ray.exceptions import AuthenticationError

from uapfp_dist.errors import UserError

# One thread per process: workers are processes, and the order of a parallel sum must not change a result.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True)
class ClusterResources:
    """Resources of the cluster when the session begins."""

    cpus: int
    gpus: float
    elastic: bool
    """Nodes may join and leave."""


@contextlib.contextmanager
def session(address: str | None) -> Iterator[ClusterResources]:
    """A Ray session: the cluster at `address`, the one this job was submitted to, or a local one that ends with it.

    Raises:
        UserError: no cluster there.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    on_terminate = signal.getsignal(signal.SIGTERM)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray warns about its own future
        try:
            _check_port(address)
            ray.init(
                address=address or "local",
                include_dashboard=None if address else False,
                runtime_env={"env_vars": ONE_THREAD},
                logging_level=logging.ERROR,
                log_to_driver=False,
                configure_logging=True,
            )
        except (ConnectionError, RuntimeError, ValueError, OSError, AuthenticationError) as error:
            cause = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"ray: expected a cluster at {address or 'this machine'}, could not reach it ({cause}); "
                "check the address and RAY_AUTH_MODE / the auth token, or leave it out to run here",
                argument="address",
            ) from error
    signal.signal(signal.SIGTERM, on_terminate)  # Ray puts its own in its place
    try:
        resources = ray.cluster_resources()
        yield ClusterResources(int(resources.get("CPU", 0)), float(resources.get("GPU", 0)), bool(address))
    finally:
        ray.shutdown()


def _check_port(address: str | None) -> None:
    """Fail at once where nothing listens: Ray would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10.0).close()
