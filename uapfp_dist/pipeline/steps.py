"""Perform one spec: read what it needs from the store, do the science, publish the result. One function per kind."""

import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.science.blackbox import Blackbox, ask
from uapfp_dist.science.data import Dataset, Splits, load, make_splits
from uapfp_dist.science.data.splits import index_digest, outside_of, training_set
from uapfp_dist.science.extraction import EXTRACTIONS, extract
from uapfp_dist.science.fingerprint.probe import answer, make_probe
from uapfp_dist.science.rng import seed_of, seeded, torch_rng
from uapfp_dist.science.training import Trainer, fit
from uapfp_dist.science.zoo import Net, build
from uapfp_dist.specs import AnswerSpec, DataSpec, Extracted, ModelSpec, ProbeSpec, Spec
from uapfp_dist.store import Artifact, Store
from uapfp_dist.types import Answers, Block, ModelCard, Probe


class GateError(RuntimeError):
    """No attempt reached the accuracy that the zoo asks for."""


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
        dataset = load(spec.name, self.data_root)
        if dataset.digest != spec.digest:
            raise UserError(
                f"data set {spec.name}: expected the images with digest {spec.digest}, found {dataset.digest} in "
                f"{self.data_root}; give every node the same data"
            )
        return dataset, make_splits(dataset, spec)

    def _net(self, spec: ModelSpec) -> Net:
        dataset, _ = self.data(spec.data)
        artifact = self.store.get(spec.kind, spec.id)
        net = build(spec.architecture, dataset.shape, dataset.n_classes, spec.width, 0, self.device)
        net.load_state_dict(artifact.tensors)
        return net.eval()

    def _probe(self, spec: ProbeSpec) -> Probe:
        return read_probe(self.store.get(spec.kind, spec.id))


def train_model(bench: Workbench, spec: ModelSpec) -> None:
    """Train or extract a model; try again with another seed while it stays below its gate."""
    if bench.store.intact("below_gate", spec.id):  # the seeds are fixed: trying again would end the same way
        raise GateError(bench.store.get("below_gate", spec.id).info["why"])
    dataset, splits = bench.data(spec.data)
    gate = spec.gate
    least = bench.store.get("model", gate.reference.id).info["accuracy"] - gate.margin if gate else 0.0
    reached = []
    for number in range(gate.attempts if gate else 1):
        started = time.perf_counter()
        net, trained = _train_once(bench, spec, dataset, splits, number)
        card = _card(bench, spec, net, dataset, splits)
        if card["accuracy"] >= least:
            seconds = time.perf_counter() - started
            whole = ModelCard(**card, **trained, attempt=number, seconds=seconds, device=str(bench.device))
            bench.store.put(spec.kind, spec.id, net.state_dict(), whole.to_json())
            return
        reached.append(f"{card['accuracy']:.3f}")
    why = f"accuracy {', '.join(reached)} in {len(reached)} attempts; the gate is {least:.3f}"
    bench.store.put("below_gate", spec.id, {}, {"why": why})
    raise GateError(why)


def _train_once(
    bench: Workbench, spec: ModelSpec, dataset: Dataset, splits: Splits, number: int
) -> tuple[Net, dict[str, Any]]:
    """One attempt: the net and what the card says of its making."""
    seed = seed_of(spec.id, number)
    net = build(spec.architecture, dataset.shape, dataset.n_classes, spec.width, seed, bench.device)
    rng = torch_rng(seed, "order")
    with seeded(seed, bench.device):  # dropout
        if isinstance(spec.origin, Extracted):
            index = attack_pool(splits, spec.origin)
            trainer = Trainer(net, spec.recipe, rng)
            queries = _extract(bench, spec.origin, dataset.pixels(index, bench.device), trainer)
            return net, {"queries": queries, "steps": trainer.step, "train_digest": index_digest(index)}
        index = training_set(splits, spec.origin, spec.seed)
        images = dataset.pixels(index, bench.device)
        net.normalise_by(images)
        steps = fit(net, images, dataset.labels[index].to(bench.device), spec.recipe, rng)
        return net, {"queries": 0, "steps": steps, "train_digest": index_digest(index)}


def attack_pool(splits: Splits, origin: Extracted) -> Tensor:
    """The natural images an attacker may send: those of D that its victim was not trained on."""
    victim = origin.victim
    if isinstance(victim.origin, Extracted):
        raise UserError("an extracted model cannot be the victim of another extraction")
    return outside_of(splits.d, training_set(splits, victim.origin, victim.seed))


def _extract(bench: Workbench, origin: Extracted, pool: Tensor, trainer: Trainer) -> int:
    victim = Blackbox(bench.net(origin.victim), origin.budget, origin.labels)
    extract(victim, pool, trainer, EXTRACTIONS[origin.attack], origin.rounds, origin.natural_share)
    return victim.queries


def _card(bench: Workbench, spec: ModelSpec, net: Net, dataset: Dataset, splits: Splits) -> dict[str, Any]:
    """What EVAL says of a model."""
    images, labels = dataset.pixels(splits.eval, bench.device), dataset.labels[splits.eval]
    predicted = ask(net, images).argmax(1)
    accuracy = float((predicted == labels).float().mean())
    recovery, agreement, origin = None, None, f"trained:{getattr(spec.origin, 'on', '')}"
    if isinstance(spec.origin, Extracted):
        by_victim = ask(bench.net(spec.origin.victim), images).argmax(1)
        recovery = accuracy / max(float((by_victim == labels).float().mean()), 1e-9)
        agreement = float((predicted == by_victim).float().mean())
        origin = f"{spec.origin.attack}:{spec.origin.labels}"
    return {
        "id": spec.id,
        "architecture": spec.architecture,
        "optimizer": spec.recipe.optimizer,
        "batch_size": spec.recipe.batch_size,
        "origin": origin,
        "seed": spec.seed,
        "accuracy": accuracy,
        "recovery": recovery,
        "agreement": agreement,
    }


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
    """Ask one model the whole probe, once."""
    answers = answer(bench.net(spec.model), bench.probe(spec.probe), bench.device)
    bench.store.put(spec.kind, spec.id, answers.blocks, {"model": spec.model.id, "probe": spec.probe.id})


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
    ModelSpec: train_model,
    ProbeSpec: make_probe_step,
    AnswerSpec: answer_step,
}
