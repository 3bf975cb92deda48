"""A session on Ray: connect to a cluster, or start a local one."""

import contextlib
import logging
import signal
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import ray
from ray.exceptions import AuthenticationError

from uapfp_dist.cluster.address import HERE, Address, chosen_address
from uapfp_dist.cluster.mps import mps
from uapfp_dist.cluster.temp_folder import check_temp_folder
from uapfp_dist.messages import one_line

# One thread per process: workers are processes, and the order of a parallel sum must not change a result.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
CAUSE_LETTERS = 400
"""Of what Ray says: both versions, where they differ."""


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
        UserError: no cluster there; none can be started here.
    """
    chosen = chosen_address(address)
    if chosen.value is None:
        check_temp_folder()
    chosen.check()
    with contextlib.nullcontext("") if chosen.value else mps() as in_turn, _connected(chosen) as resources:
        if in_turn and resources.gpus:
            logging.getLogger(__name__).warning("%s: workers that share a GPU use it in turn", in_turn)
        yield resources


@contextlib.contextmanager
def _connected(chosen: Address) -> Iterator[ClusterResources]:
    on_terminate = signal.getsignal(signal.SIGTERM)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray warns about its own future
        try:
            ray.init(
                address=chosen.value or HERE,
                include_dashboard=None if chosen.value else False,
                runtime_env={"env_vars": ONE_THREAD},
                logging_level=logging.ERROR,
                log_to_driver=False,
                configure_logging=True,
            )
        except Exception as error:  # of a node that does not start in time Ray raises just that
            hint = "; check RAY_AUTH_MODE and the auth token" if isinstance(error, AuthenticationError) else ""
            raise chosen.error(one_line(error, CAUSE_LETTERS) + hint) from error
    signal.signal(signal.SIGTERM, on_terminate)  # Ray puts its own in its place
    try:
        resources = ray.cluster_resources()
        yield ClusterResources(int(resources.get("CPU", 0)), float(resources.get("GPU", 0)), bool(chosen.value))
    finally:
        ray.shutdown()
