"""Perform one spec: read what it needs from the store, do the science, publish the result. One function per kind."""

from collections.abc import Callable
from typing import Any

import torch

from uapfp_dist.execution.context import Workbench
from uapfp_dist.execution.make_model import make_model, make_trajectory
from uapfp_dist.fingerprints.probe import make_probe
from uapfp_dist.fingerprints.querying import answer
from uapfp_dist.perturbations.subspace import uap_matrix
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.hashing import Spec
from uapfp_dist.tasks.specs import AnswerSpec, ModelSpec, ProbeSpec, SubspaceSpec, TrajectorySpec


def perform(bench: Workbench, spec: Spec) -> None:
    """Do `spec` and publish its artifact.

    Raises:
        GateError: a model stayed below its gate.
        NotReachedError: a checkpoint that its extraction never came to.
    """
    _STEPS[type(spec)](bench, spec)


def make_probe_step(bench: Workbench, spec: ProbeSpec) -> None:
    """UAPs, points, views and natural errors of the victim."""
    dataset, splits = bench.data(spec.victim.data)
    own = dataset.pixels(splits.d_v, bench.device)
    held_out = dataset.pixels(splits.probe, bench.device)
    probe = make_probe(bench.net(spec.victim), spec, own, held_out, dataset.labels[splits.probe])
    tensors = {
        "points": probe.points,
        "views": probe.views,
        "natural": probe.natural,
        "natural_labels": probe.natural_labels,
    }
    for name, block in probe.blocks.items():
        tensors |= {f"{name}/{part}": tensor for part, tensor in vars(block).items()}
    bench.store.put(spec.kind, spec.id, tensors, probe.info)


def answer_step(bench: Workbench, spec: AnswerSpec) -> None:
    """Ask one model its part of the probe, once."""
    answers = answer(bench.net(spec.model), bench.probe(spec.probe), bench.device, spec.part)
    bench.store.put(spec.kind, spec.id, answers.blocks, {"model": spec.model.id, "probe": spec.probe.id})


def subspace_step(bench: Workbench, spec: SubspaceSpec) -> None:
    """UAPs of one model, on images of D that are the same for all models."""
    dataset, splits = bench.data(spec.model.data)
    rng = torch_rng("subspace", spec.seed)
    index = splits.d_v[torch.randperm(len(splits.d_v), generator=rng)[: spec.config.n_images]]
    images = dataset.pixels(index, bench.device)
    xi = spec.config.xi * float(images.flatten(1).norm(dim=1).mean())
    matrix = uap_matrix(bench.net(spec.model), images, spec.config, xi, torch_rng(spec.id, "uaps"))
    bench.store.put(spec.kind, spec.id, {"uaps": matrix}, {"model": spec.model.id, "xi": xi})


_STEPS: dict[type[Spec], Callable[[Workbench, Any], None]] = {
    ModelSpec: make_model,
    TrajectorySpec: make_trajectory,
    SubspaceSpec: subspace_step,
    ProbeSpec: make_probe_step,
    AnswerSpec: answer_step,
}
