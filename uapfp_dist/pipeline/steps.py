"""Perform one spec: read what it needs from the store, do the science, publish the result. One function per kind."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.pipeline.models import GateError, empty_net, make_model, make_trajectory
from uapfp_dist.science.data import Dataset, Splits, load, make_splits
from uapfp_dist.science.fingerprint.probe import answer, make_probe
from uapfp_dist.science.perturbation.subspace import uap_matrix
from uapfp_dist.science.rng import torch_rng
from uapfp_dist.science.zoo import Net
from uapfp_dist.specs import AnswerSpec, DataSpec, ModelSpec, ProbeSpec, Spec, SubspaceSpec, TrajectorySpec
from uapfp_dist.store import Artifact, Store
from uapfp_dist.types import Answers, Block, Probe

__all__ = ["GateError", "Workbench", "read_answers", "read_probe"]


class Workbench:
    """Where specs are performed: a store, the data, a device. Keeps the data set and recent nets at hand.

    Args:
        store: artifacts.
        data_root: where the images lie, for data sets that need it.
        device: where tensors live.
    """

    def __init__(self, store: Store, data_root: Path | None, device: torch.device) -> None:
        self.store = store
        self.data_root = data_root
        self.device = device
        self.net = lru_cache(maxsize=8)(self._net)
        self.probe = lru_cache(maxsize=2)(self._probe)
        self.data = lru_cache(maxsize=2)(self._data)

    def perform(self, spec: Spec) -> None:
        """Do `spec` and publish its artifact.

        Raises:
            GateError: a model stayed below its gate.
        """
        _STEPS[type(spec)](self, spec)

    def _data(self, spec: DataSpec) -> tuple[Dataset, Splits]:
        dataset = load(spec.name, self.data_root, spec.n_classes)
        if dataset.digest != spec.digest:
            raise UserError(
                f"data set {spec.name}: expected the images with digest {spec.digest}, found {dataset.digest} in "
                f"{self.data_root}; give every node the same data"
            )
        return dataset, make_splits(dataset, spec)

    def _net(self, spec: ModelSpec) -> Net:
        net = empty_net(self, spec)
        net.load_state_dict(self.store.get(spec.kind, spec.id).tensors)
        return net.eval()

    def _probe(self, spec: ProbeSpec) -> Probe:
        return read_probe(self.store.get(spec.kind, spec.id))


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


def read_probe(artifact: Artifact) -> Probe:
    """A stored probe."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in artifact.tensors.items():
        if "/" in key:
            name, part = key.rsplit("/", 1)
            parts.setdefault(name, {})[part] = tensor
    blocks = {name: Block(**tensors) for name, tensors in parts.items()}
    t = artifact.tensors
    return Probe(t["points"], t["views"], blocks, t["natural"], t["natural_labels"], artifact.info)


def read_answers(artifact: Artifact) -> Answers:
    """Stored answers."""
    return Answers(artifact.tensors)


_STEPS: dict[type[Spec], Callable[[Workbench, Any], None]] = {
    ModelSpec: make_model,
    TrajectorySpec: make_trajectory,
    SubspaceSpec: subspace_step,
    ProbeSpec: make_probe_step,
    AnswerSpec: answer_step,
}
