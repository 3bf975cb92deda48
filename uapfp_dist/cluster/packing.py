"""How much of a GPU a spec's nets want, and how many workers of that size a cluster can hold."""

from collections.abc import Callable, Mapping

import ray

from uapfp_dist.cluster.session import Machine
from uapfp_dist.errors import UserError
from uapfp_dist.specs import AnswerSpec, Extracted, ModelSpec, Modified, ProbeSpec, Spec, SubspaceSpec, TrajectorySpec

GPU_SHARES = dict.fromkeys("ABCDE", 0.25)
"""Architecture to its share of a GPU. The nets of Table 1 leave most of one idle: four trainings share it."""
LARGE = 1.0
"""Of every other architecture: ResNet, VGG, DenseNet and their like fill a GPU."""


def gpu_share(spec: Spec) -> float:
    """The share of a GPU that the largest net which `spec` holds there wants: its own, or that of a model it asks."""
    return max((GPU_SHARES.get(model.architecture, LARGE) for model in _held(spec)), default=LARGE)


def _held(spec: Spec) -> list[ModelSpec]:
    match spec:
        case ModelSpec(origin=Extracted(victim=asked) | Modified(of=asked)):
            return [spec, asked]
        case ModelSpec():
            return [spec]
        case TrajectorySpec(model=model):
            return _held(model)
        case AnswerSpec(model=model) | SubspaceSpec(model=model) | ProbeSpec(victim=model):
            return [model]
    return []


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


def shares(machine: Machine, workers: int | None, gpus_per_worker: float | None) -> Callable[[Spec], float]:
    """The GPU share of a spec's worker: `gpus_per_worker` for all, else by architecture where there are GPUs, else 0.

    Args:
        machine: what the cluster has now.
        workers: the most that are wanted.
        gpus_per_worker: a share of one GPU, or a whole number of them.

    Raises:
        UserError: a share that cannot be had; or, where no node can join, more than there is.
    """
    gpus = gpus_per_worker
    if gpus is not None and gpus > 1 and gpus % 1:
        raise UserError(f"gpus-per-worker: expected a share of one GPU or a whole number, got {gpus:g}; round it")
    if not machine.elastic:
        _check_fixed(machine, workers, gpus)
    if gpus is None and machine.gpus:
        return gpu_share
    return lambda spec: gpus or 0.0


def _check_fixed(machine: Machine, workers: int | None, gpus: float | None) -> None:
    """This machine stays as it is: what does not fit now never will."""
    if gpus and not machine.gpus:
        raise UserError(
            f"gpus-per-worker: expected a machine with GPUs for {gpus:g} each, it has none; leave the option out"
        )
    if gpus and gpus > machine.gpus:
        raise UserError(f"gpus-per-worker: expected at most the {machine.gpus:g} GPUs of this machine, got {gpus:g}")
    smallest = gpus if gpus is not None else (min(GPU_SHARES.values()) if machine.gpus else 0.0)
    most = fits({"CPU": machine.cpus, "GPU": machine.gpus}, smallest)
    if workers is not None and workers > most:
        raise UserError(
            f"workers: expected at most {most} ({machine.cpus} CPUs, {machine.gpus:g} GPUs), got {workers}; "
            "ask for fewer or add nodes"
        )
