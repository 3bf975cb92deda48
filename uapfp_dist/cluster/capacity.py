"""How many workers a cluster can hold, by their share of a GPU."""

from collections.abc import Callable, Mapping
from functools import partial

import ray

from uapfp_dist.cluster.session import ClusterResources
from uapfp_dist.cluster.spec_resources import GPU_SHARES, LARGE_SHARE, NO_SHARES, gpu_share
from uapfp_dist.errors import UserError
from uapfp_dist.tasks.hashing import Spec


def fits(resources: Mapping[str, float], share: float) -> int:
    """Workers with `share` of a GPU and one CPU each on a node with `resources`."""
    cpus = int(resources.get("CPU", 0))
    if not share:
        return cpus
    gpus = resources.get("GPU", 0.0)
    # no share is cut in two: 0.4 goes twice into each GPU
    return min(cpus, int(gpus // share) if share >= 1 else int(gpus) * int(1 / share + 1e-9))


def capacity(share: float) -> dict[str, int]:
    """Node id to the workers it can hold, for the nodes that are alive and can hold any."""
    alive = {node["NodeID"]: fits(node["Resources"], share) for node in ray.nodes() if node["Alive"]}
    return {node: n for node, n in alive.items() if n}


def shares(
    machine: ClusterResources,
    workers: int | None,
    gpus_per_worker: float | None,
    gpu_shares: Mapping[str, float] = NO_SHARES,
) -> Callable[[Spec], float]:
    """The GPU share of a spec's worker: `gpus_per_worker` for all, else by architecture where there are GPUs, else 0.

    Args:
        machine: the cluster's resources now.
        workers: workers at most.
        gpus_per_worker: a share of one GPU, or a whole number of them.
        gpu_shares: the same for some architectures; implies that there are GPUs, or will be.

    Raises:
        UserError: a share that cannot be had; or, where no node can join, more than there is.
    """
    wanted = {f"gpu_shares.{name}": share for name, share in gpu_shares.items()}
    if gpus_per_worker is not None:
        wanted["gpus_per_worker"] = gpus_per_worker
    for name, gpus in wanted.items():
        if gpus > 1 and gpus % 1:
            raise _share_error(name, f"expected a share of one GPU or a whole number, got {gpus:g}; round it")
    if not machine.elastic:
        possible = {**GPU_SHARES, **gpu_shares}.values() if gpus_per_worker is None else [gpus_per_worker]
        _check_fixed(machine, workers, wanted, min(possible) if machine.gpus else 0.0)
    if gpus_per_worker is None and (machine.gpus or gpu_shares):
        return partial(gpu_share, given=gpu_shares)
    return lambda spec: gpus_per_worker or 0.0


def workers_at_once(
    machine: ClusterResources,
    workers: int | None,
    gpus_per_worker: float | None,
    gpu_shares: Mapping[str, float] = NO_SHARES,
) -> Callable[[str], int] | None:
    """Architecture to the workers that GPUs have room for; None where models are made on CPUs. Arguments as above."""
    if not machine.gpus or gpus_per_worker == 0:
        return None

    def number(architecture: str) -> int:
        share = {**GPU_SHARES, **gpu_shares}.get(architecture, LARGE_SHARE)
        room = fits({"CPU": machine.cpus, "GPU": machine.gpus}, gpus_per_worker or share)
        return room if workers is None else min(room, workers)

    return number


def _check_fixed(machine: ClusterResources, workers: int | None, wanted: Mapping[str, float], smallest: float) -> None:
    """No node can join: what does not fit now never will."""
    for name, gpus in wanted.items():
        if gpus and not machine.gpus:
            raise _share_error(name, f"expected a machine with GPUs for {gpus:g} each, it has none; leave it out")
        if gpus > machine.gpus:
            raise _share_error(name, f"expected at most the {machine.gpus:g} GPUs of this machine, got {gpus:g}")
    most = fits({"CPU": machine.cpus, "GPU": machine.gpus}, smallest)
    if workers is not None and workers > most:
        raise UserError(
            f"workers: expected at most {most} ({machine.cpus} CPUs, {machine.gpus:g} GPUs), got {workers}; "
            "ask for fewer or add nodes",
            argument="workers",
        )


def _share_error(name: str, message: str) -> UserError:
    return UserError(f"{name}: {message}", argument=name.partition(".")[0])
