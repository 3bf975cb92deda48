"""Perform one spec: read what it needs from the store, do the science, publish the result. One function per kind."""

from collections.abc import Callable
from typing import Any

import torch

from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.make_model import make_model, make_trajectory
from uapfp_dist.execution.probe_artifacts import probe_artifact, responses_artifact
from uapfp_dist.fingerprints.probe import make_probe
from uapfp_dist.fingerprints.querying import query_model
from uapfp_dist.perturbations.subspace import uap_matrix
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.specs import ModelSpec, ProbeSpec, ResponseSpec, SubspaceSpec, TrajectorySpec


def perform_task(context: TaskContext, spec: Spec) -> None:
    """Do `spec` and publish its artifact.

    Raises:
        GateError: a model stayed below its gate.
        NotReachedError: a checkpoint that its extraction never came to.
    """
    _STEPS[type(spec)](context, spec)


def make_probe_step(context: TaskContext, spec: ProbeSpec) -> None:
    """UAPs, points, views and natural errors of the victim."""
    dataset, splits = context.data(spec.victim.data)
    own = dataset.pixels(splits.d_v, context.device)
    held_out = dataset.pixels(splits.probe, context.device)
    probe = make_probe(context.net(spec.victim), spec, own, held_out, dataset.labels[splits.probe])
    context.store.put(spec.kind, spec.id, *probe_artifact(probe))


def response_step(context: TaskContext, spec: ResponseSpec) -> None:
    """Query one model with its part of the probe, once."""
    responses = query_model(context.net(spec.model), context.probe(spec.probe), context.device, spec.part)
    context.store.put(
        spec.kind, spec.id, responses_artifact(responses), {"model": spec.model.id, "probe": spec.probe.id}
    )


def subspace_step(context: TaskContext, spec: SubspaceSpec) -> None:
    """UAPs of one model, on images of D that are the same for all models."""
    dataset, splits = context.data(spec.model.data)
    rng = torch_rng("subspace", spec.seed)
    index = splits.d_v[torch.randperm(len(splits.d_v), generator=rng)[: spec.config.n_images]]
    images = dataset.pixels(index, context.device)
    xi = spec.config.xi * float(images.flatten(1).norm(dim=1).mean())
    matrix = uap_matrix(context.net(spec.model), images, spec.config, xi, torch_rng(spec.id, "uaps"))
    context.store.put(spec.kind, spec.id, {"uaps": matrix}, {"model": spec.model.id, "xi": xi})


_STEPS: dict[type[Spec], Callable[[TaskContext, Any], None]] = {
    ModelSpec: make_model,
    TrajectorySpec: make_trajectory,
    SubspaceSpec: subspace_step,
    ProbeSpec: make_probe_step,
    ResponseSpec: response_step,
}
