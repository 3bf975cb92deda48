"""Perform one spec: read what it needs from the store, do the science, publish the result. One function per kind."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from uapfp_dist.execution.churn_artifacts import churn_artifact, labels_artifact
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.continuing import make_training_checkpoint
from uapfp_dist.execution.make_model import GateError, make_model, make_trajectory
from uapfp_dist.execution.pool_artifacts import (
    pool_artifact,
    pool_labels_artifact,
    read_pool_labels,
    sibling_points_artifact,
)
from uapfp_dist.execution.probe_artifacts import probe_artifact, responses_artifact
from uapfp_dist.fingerprints.blocks import PAPER
from uapfp_dist.fingerprints.churn import all_points, churn_labels
from uapfp_dist.fingerprints.pool import Pool, make_pool, pool_labels
from uapfp_dist.fingerprints.probe import make_probe, make_probe_twin
from uapfp_dist.fingerprints.querying import query_model
from uapfp_dist.fingerprints.references import make_references, make_twin_references, true_labels_of
from uapfp_dist.fingerprints.sibling_points import sibling_points
from uapfp_dist.perturbations.subspace import start_cosines, uap_matrix, uap_starts
from uapfp_dist.perturbations.uap import fooling_rate
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.churn_specs import ChurnResponseSpec, ChurnSpec
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.pool_specs import PoolLabelsSpec, PoolSpec, SiblingPointsSpec, SiblingResponseSpec
from uapfp_dist.tasks.reference_specs import ReferenceResponseSpec, ReferenceSpec
from uapfp_dist.tasks.run_specs import TrainingCheckpointSpec
from uapfp_dist.tasks.specs import (
    AbsoluteGate,
    ModelSpec,
    ProbeSpec,
    ProbeTwinSpec,
    ResponseSpec,
    SubspaceSpec,
    TrajectorySpec,
    reaches,
)


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
    context.store.put_new(*spec.artifact, *probe_artifact(probe))


def response_step(context: TaskContext, spec: ResponseSpec) -> None:
    """Query one model with its part of the probe, once."""
    responses = query_model(context.net(spec.model), context.probe(spec.probe), context.device, spec.part)
    context.store.put_new(
        *spec.artifact, responses_artifact(responses), {"model": spec.model.id, "probe": spec.probe.id}
    )


def probe_twin_step(context: TaskContext, spec: ProbeTwinSpec) -> None:
    """Points and views of PROBE, with the UAPs and random vectors of another probe."""
    victim = spec.probe.victim
    dataset, splits = context.data(victim.data)
    images = dataset.pixels(splits.probe, context.device)
    probe = make_probe_twin(context.net(victim), context.probe(spec.probe), spec, images)
    context.store.put_new(*spec.artifact, *probe_artifact(probe))


def reference_step(context: TaskContext, spec: ReferenceSpec) -> None:
    """IPGuard's points beside those of a probe, with the true labels of its natural errors; more on points of PROBE."""
    if isinstance(spec.probe, ProbeTwinSpec):
        net, probe = context.net(spec.probe.probe.victim), context.probe(spec.probe.probe)
        made = make_twin_references(net, probe, context.probe(spec.probe), spec.ipguard_k, spec.id)
    else:
        net, probe = context.net(spec.probe.victim), context.probe(spec.probe)
        dataset, splits = context.data(spec.probe.victim.data)
        truth = true_labels_of(probe.natural, dataset.pixels(splits.probe), dataset.labels[splits.probe])
        made = make_references(net, probe, spec.ipguard_k, spec.id, truth)
        v, unseen = probe.blocks[PAPER].perturbations.to(context.device), dataset.pixels(splits.eval, context.device)
        made = replace(made, summary=replace(made.summary, fooling_on_eval=fooling_rate(net, unseen, v, clip=False)))
    context.store.put_new(*spec.artifact, *probe_artifact(made))


def reference_response_step(context: TaskContext, spec: ReferenceResponseSpec) -> None:
    """Query one model with references, once."""
    responses = query_model(context.net(spec.model), context.probe(spec.references), context.device, spec.part)
    about = {"model": spec.model.id, "references": spec.references.id}
    context.store.put_new(*spec.artifact, responses_artifact(responses), about)


def churn_step(context: TaskContext, spec: ChurnSpec) -> None:
    """Where the victim disagrees with its siblings.

    Raises:
        GateError: the victim is below the gate of its siblings.
        NoChurnError: it never disagrees with them.
    """
    dataset, splits = context.data(spec.victim.data)
    accuracy = context.store.get("model", spec.victim.id).info["accuracy"]
    least = max(sibling.gate.accuracy for sibling in spec.siblings if isinstance(sibling.gate, AbsoluteGate))
    if not reaches(accuracy, least):
        raise GateError(
            f"victim: expected an accuracy of at least {least:g}, which binds it and its siblings alike, got "
            f"{accuracy:.4f}; lower the gate of the siblings"
        )
    points = all_points(
        context.net(spec.victim),
        [context.net(sibling) for sibling in spec.siblings],
        dataset.pixels(splits.probe),
        context.probe(spec.probe) if spec.probe else None,
        spec.config,
        spec.id,
    )
    # The images that they were made of, as numbers of the data set: nobody trained on any of these.
    points = {key: replace(each, base=splits.probe[each.base]) for key, each in points.items()}
    context.store.put_new(*spec.artifact, *churn_artifact(points))


def churn_response_step(context: TaskContext, spec: ChurnResponseSpec) -> None:
    """The labels of one model on every churn point, once."""
    labels = churn_labels(context.net(spec.model), context.churn(spec.churn))
    context.store.put_new(*spec.artifact, labels_artifact(labels), {"model": spec.model.id, "churn": spec.churn.id})


def pool_step(context: TaskContext, spec: PoolSpec) -> None:
    """The images on which a victim and its siblings are compared."""
    dataset, splits = context.data(spec.data)
    pool = make_pool(dataset.pixels(splits.probe), spec.config, spec.id)
    context.store.put_new(*spec.artifact, pool_artifact(replace(pool, base=splits.probe[pool.base])), {})


def pool_labels_step(context: TaskContext, spec: PoolLabelsSpec) -> None:
    """The labels of one model on the whole pool, once."""
    found = pool_labels(context.net(spec.model), context.pool(spec.pool))
    context.store.put_new(*spec.artifact, pool_labels_artifact(found), {"model": spec.model.id, "pool": spec.pool.id})


def sibling_points_step(context: TaskContext, spec: SiblingPointsSpec) -> None:
    """The images of the exact sibling test, from what its players say to the pool."""
    said = [read_pool_labels(context.store.get(*need.artifact)) for need in spec.needs]
    points = sibling_points(context.pool(spec.pool), said, spec.config)
    context.store.put_new(*spec.artifact, sibling_points_artifact(points), {})


def sibling_response_step(context: TaskContext, spec: SiblingResponseSpec) -> None:
    """The labels of one model on those images, once."""
    points = context.sibling_points(spec.points)
    found = pool_labels(context.net(spec.model), Pool(points.images, torch.arange(len(points.images))))
    about = {"model": spec.model.id, "points": spec.points.id}
    context.store.put_new(*spec.artifact, pool_labels_artifact(found), about)


def subspace_step(context: TaskContext, spec: SubspaceSpec) -> None:
    """UAPs of one model, on images of D that are the same for all models."""
    dataset, splits = context.data(spec.model.data)
    rng = torch_rng("subspace", spec.seed)
    index = splits.d_v[torch.randperm(len(splits.d_v), generator=rng)[: spec.config.n_images]]
    images = dataset.pixels(index, context.device)
    xi = spec.config.xi * float(images.flatten(1).norm(dim=1).mean())
    matrix = uap_matrix(context.net(spec.model), images, spec.config, xi, torch_rng(spec.id, "uaps"))
    tensors = {"uaps": matrix}
    if spec.config.largest_cosine < 1:
        starts = [one.start for one in uap_starts(images, spec.config.n_uaps, torch_rng(spec.id, "uaps"))]
        tensors["start_cosines"] = start_cosines(matrix, torch.cat(starts))
    context.store.put_new(*spec.artifact, tensors, {"model": spec.model.id, "xi": xi})


_STEPS: dict[type[Spec], Callable[[TaskContext, Any], None]] = {
    ModelSpec: make_model,
    TrajectorySpec: make_trajectory,
    TrainingCheckpointSpec: make_training_checkpoint,
    SubspaceSpec: subspace_step,
    ProbeSpec: make_probe_step,
    ProbeTwinSpec: probe_twin_step,
    ReferenceSpec: reference_step,
    ReferenceResponseSpec: reference_response_step,
    ChurnSpec: churn_step,
    ChurnResponseSpec: churn_response_step,
    ResponseSpec: response_step,
    PoolSpec: pool_step,
    PoolLabelsSpec: pool_labels_step,
    SiblingPointsSpec: sibling_points_step,
    SiblingResponseSpec: sibling_response_step,
}
