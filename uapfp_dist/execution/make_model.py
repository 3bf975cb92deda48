"""Make one model: train, extract, modify, or take it from the middle of an extraction; then measure it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from uapfp_dist.attacks import DivergedError, TrueLabels, attack_by, extract, extract_trajectory
from uapfp_dist.data import Dataset, Splits
from uapfp_dist.data.splits import attack_pool, index_digest, outside_of, training_set
from uapfp_dist.errors import PermanentError, UserError
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.owner_training import train_sibling
from uapfp_dist.execution.owner_weights import take_weights
from uapfp_dist.models import Net
from uapfp_dist.models.blackbox import Blackbox, predict_probabilities
from uapfp_dist.models.training import Trainer, fit
from uapfp_dist.modifications import AttackerData, modify
from uapfp_dist.rng import seed_of, seeded, torch_rng
from uapfp_dist.tasks.model_card import ModelCard
from uapfp_dist.tasks.modification_specs import AdversarialTraining, Distill
from uapfp_dist.tasks.specs import (
    AbsoluteGate,
    Checkpoint,
    Extracted,
    Gate,
    Imported,
    ModelSpec,
    Modified,
    OwnerTrained,
    Trained,
    TrajectorySpec,
)

WATCHED_IMAGES = 1000
"""Images of EVAL on which an extraction's recovery rate is watched."""
WATCH_EVERY = 10
"""Steps between two looks at it."""


class GateError(PermanentError):
    """No attempt reached the accuracy of the model's gate."""


class NotReachedError(PermanentError):
    """An extraction never had the recovery rate that was waited for."""


@dataclass(frozen=True)
class MadeModel:
    """A net and what its card says of its making."""

    net: Net
    queries: int = 0
    steps: int = 0
    train_digest: str = ""


def make_model(context: TaskContext, spec: ModelSpec) -> None:
    """Make a model; try again with another seed while it stays below its gate.

    Raises:
        GateError: no attempt was good enough.
        NotReachedError: a checkpoint that its extraction never came to.
    """
    if context.store.intact("below_gate", spec.id):  # the seeds are fixed: trying again would end the same way
        raise GateError(context.store.get("below_gate", spec.id).info["why"])
    gate = spec.gate
    least = _least_accuracy(context, gate)
    reached = []
    for number in range(gate.attempts if gate else 1):
        started = time.perf_counter()
        try:
            made = _make(context, spec, number)
        except DivergedError:
            reached.append("diverged")
            continue
        card = _card(context, spec, made)
        if gate is None or card.accuracy >= least:
            card = replace(card, attempt=number, seconds=time.perf_counter() - started)
            context.store.put(spec.kind, spec.id, made.net.state_dict(), card.to_json())
            return
        reached.append(f"{card.accuracy:.3f}")
    why = f"accuracy {', '.join(reached)} in {len(reached)} attempts; the gate is {least:.3f}"
    context.store.put("below_gate", spec.id, {}, {"why": why})
    raise GateError(why)


def _least_accuracy(context: TaskContext, gate: Gate | AbsoluteGate | None) -> float:
    if isinstance(gate, Gate):
        return float(context.store.get("model", gate.reference.id).info["accuracy"]) - gate.margin
    return gate.accuracy if gate else 0.0


def _make(context: TaskContext, spec: ModelSpec, number: int) -> MadeModel:
    """One attempt."""
    seed, origin = seed_of(spec.id, number), spec.origin
    rng = torch_rng(seed, "order")
    with seeded(seed, context.device):  # dropout
        if isinstance(origin, Trained):
            return _train(context, spec, origin, seed, rng)
        if isinstance(origin, Extracted):
            return _extract(context, spec, origin, seed, rng)
        if isinstance(origin, Modified):
            return _modify(context, spec, origin, seed, rng)
        if isinstance(origin, OwnerTrained):
            net, train_digest = train_sibling(context, spec, origin, seed)
            return MadeModel(net, train_digest=train_digest)
        if isinstance(origin, Imported):
            raise UserError(f"victim: expected its weights in the store under {spec.id}, found none; enroll it again")
        return _take(context, spec, origin)


def import_model(context: TaskContext, spec: ModelSpec, weights: Mapping[str, Tensor]) -> ModelCard:
    """Put an owner's model into the store; returns its card.

    Args:
        context: where.
        spec: of origin `Imported`.
        weights: of the owner's own module, or of a known architecture; `mean` and `std` may be missing.

    Raises:
        UserError: weights of another architecture.
    """
    assert isinstance(spec.origin, Imported)
    net = context.empty(spec)
    take_weights(net, weights, spec.origin.mean, spec.origin.std)
    card = _card(context, spec, MadeModel(net.eval()))
    context.store.put(spec.kind, spec.id, net.state_dict(), card.to_json())
    return card


def _train(context: TaskContext, spec: ModelSpec, origin: Trained, seed: int, rng: torch.Generator) -> MadeModel:
    dataset, splits = context.data(spec.data)
    net = context.empty(spec, seed)
    index = training_set(splits, origin, spec.seed)
    images = dataset.pixels(index, context.device)
    net.normalise_by(images)
    steps = fit(net, images, dataset.labels[index].to(context.device), spec.recipe, rng)
    return MadeModel(net, 0, steps, index_digest(index))


def _extract(context: TaskContext, spec: ModelSpec, origin: Extracted, seed: int, rng: torch.Generator) -> MadeModel:
    dataset, splits = context.data(spec.data)
    index = attack_pool(splits, origin, spec.seed)
    trainer = Trainer(context.empty(spec, seed), spec.recipe, rng)
    victim = Blackbox(context.net(origin.victim), origin.budget, origin.labels)
    pool = dataset.pixels(index, context.device)
    extract(
        victim,
        pool,
        trainer,
        attack_by(origin.attack, origin.jacobian_labels),
        rounds=origin.rounds,
        natural_share=origin.natural_share,
        true_labels=_true_labels(origin, dataset, index, context.device),
    )
    assert isinstance(trainer.net, Net)
    return MadeModel(trainer.net, victim.queries, trainer.step, index_digest(index))


def _true_labels(origin: Extracted, dataset: Dataset, index: Tensor, device: torch.device) -> TrueLabels | None:
    return TrueLabels(dataset.labels[index].to(device), origin.true_share) if origin.true_share else None


def _modify(context: TaskContext, spec: ModelSpec, origin: Modified, seed: int, rng: torch.Generator) -> MadeModel:
    dataset, splits = context.data(spec.data)
    distilled = isinstance(origin.modification, Distill)
    unlabelled = outside_of(splits.d, splits.d_v) if distilled else splits.attack[:0]
    data = AttackerData(
        dataset.pixels(splits.attack, context.device),
        dataset.labels[splits.attack].to(context.device),
        dataset.pixels(unlabelled, context.device),
    )
    student = context.empty(spec, seed) if distilled else None
    teacher = context.net(before_adversarial(origin))
    net = modify(context.net(origin.of), origin.modification, data, spec.recipe, rng, student=student, teacher=teacher)
    return MadeModel(net, train_digest=index_digest(splits.attack))


def before_adversarial(origin: Modified) -> ModelSpec:
    """The model as it was before a chain of adversarial training: its labels are the attacker's own."""
    of = origin.of
    while isinstance(of.origin, Modified) and isinstance(of.origin.modification, AdversarialTraining):
        of = of.origin.of
    return of


def _take(context: TaskContext, spec: ModelSpec, origin: Checkpoint) -> MadeModel:
    stored = context.store.get(origin.trajectory.kind, origin.trajectory.id)
    level = f"{origin.recovery:g}"
    if level not in stored.info["reached"]:
        raise NotReachedError(f"recovery {level} was never reached; the levels reached: {list(stored.info['reached'])}")
    net = context.empty(spec)
    prefix = f"{level}/"
    weights = {name.removeprefix(prefix): t for name, t in stored.tensors.items() if name.startswith(prefix)}
    net.load_state_dict(weights)
    reached = stored.info["reached"][level]
    return MadeModel(net.eval(), reached["queries"], reached["step"], stored.info["train_digest"])


def make_trajectory(context: TaskContext, spec: TrajectorySpec) -> None:
    """Extract once, keeping the substitute at the first moment of every recovery rate."""
    model = spec.model
    origin = model.origin
    assert isinstance(origin, Extracted)
    dataset, splits = context.data(model.data)
    watched = watched_images(splits, spec.id)
    images, labels = dataset.pixels(watched), dataset.labels[watched]
    victim_net = context.net(origin.victim)

    def accuracy(net: torch.nn.Module) -> float:
        return float((predict_probabilities(net, images).argmax(1) == labels).float().mean())

    whole = max(accuracy(victim_net), 1e-9)
    seed = seed_of(spec.id, 0)
    index = attack_pool(splits, origin, model.seed)
    trainer = Trainer(context.empty(model, seed), model.recipe, torch_rng(seed, "order"))
    with seeded(seed, context.device):
        found = extract_trajectory(
            Blackbox(victim_net, origin.budget, origin.labels),
            dataset.pixels(index, context.device),
            trainer,
            attack_by(origin.attack, origin.jacobian_labels),
            rounds=origin.rounds,
            natural_share=origin.natural_share,
            recoveries=spec.recoveries,
            recovery_of=lambda net: accuracy(net) / whole,
            every=WATCH_EVERY,
            true_labels=_true_labels(origin, dataset, index, context.device),
        )
    tensors = {f"{r.level:g}/{name}": tensor for r in found for name, tensor in r.weights.items()}
    reached = {f"{r.level:g}": {"recovery": r.recovery, "step": r.step, "queries": r.queries} for r in found}
    context.store.put(spec.kind, spec.id, tensors, {"reached": reached, "train_digest": index_digest(index)})


def watched_images(splits: Splits, seed: str) -> Tensor:
    """(W,) indices into EVAL, at random: a data set may lie on disk class by class."""
    drawn = torch.randperm(len(splits.eval), generator=torch_rng(seed, "watched"))[:WATCHED_IMAGES]
    return splits.eval[drawn]


def _card(context: TaskContext, spec: ModelSpec, made: MadeModel) -> ModelCard:
    """The card of a model, measured on EVAL."""
    dataset, splits = context.data(spec.data)
    images, labels = dataset.pixels(splits.eval, context.device), dataset.labels[splits.eval]
    predicted = predict_probabilities(made.net, images).argmax(1)
    accuracy = _share(predicted, labels)
    recovery, agreement, stolen = None, None, spec.extraction
    if stolen is not None:
        by_victim = predict_probabilities(context.net(stolen.victim), images).argmax(1)
        recovery, agreement = accuracy / max(_share(by_victim, labels), 1e-9), _share(predicted, by_victim)
    before = (
        context.store.get("model", spec.origin.of.id).info["accuracy"] if isinstance(spec.origin, Modified) else None
    )
    return ModelCard(
        id=spec.id,
        architecture=spec.architecture,
        optimizer=spec.recipe.optimizer,
        batch_size=spec.recipe.batch_size,
        origin=origin_name(spec),
        seed=spec.seed,
        accuracy=accuracy,
        recovery=recovery,
        agreement=agreement,
        queries=made.queries,
        attempt=0,
        steps=made.steps,
        train_digest=made.train_digest,
        seconds=0.0,
        device=_named(context.device),
        modifications=tuple(modification.description for modification in spec.modifications),
        accuracy_before=before,
        precision=spec.recipe.precision,
    )


def _share(a: Tensor, b: Tensor) -> float:
    return float((a == b).float().mean())


def origin_name(spec: ModelSpec) -> str:
    """`trained:<set>`, or `<attack>:<labels>`, of the model before any modification.

    Where the victim was extracted itself, `<attack>:<labels> of <attack>:<labels>`, and so on.
    """
    stolen = spec.extraction
    if stolen is not None:
        twice = f" of {origin_name(stolen.victim)}" if stolen.victim.extraction else ""
        return f"{stolen.attack}:{stolen.labels_name}{twice}"
    return f"trained:{getattr(spec.root.origin, 'on', 'by its owner')}"


def _named(device: torch.device) -> str:
    """`cpu`, or a GPU by its maker's name: the driver, which reports, may have none."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
