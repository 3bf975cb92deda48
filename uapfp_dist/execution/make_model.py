"""Make one model: train, extract, modify, or take it from the middle of an extraction; then measure it."""

import time
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from uapfp_dist.attacks import DivergedError, attack_by, extract_trajectory
from uapfp_dist.data import Splits
from uapfp_dist.errors import PermanentError, UserError
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.continuing import continue_training
from uapfp_dist.execution.modifying import modify_model
from uapfp_dist.execution.natural_images import natural_images, true_labels
from uapfp_dist.execution.owner_training import train_sibling
from uapfp_dist.execution.owner_weights import take_weights
from uapfp_dist.execution.training import (
    MadeModel,
    extract_model,
    order_rng,
    relabelling,
    train,
)
from uapfp_dist.models.blackbox import Blackbox, predict_probabilities
from uapfp_dist.models.training import Trainer
from uapfp_dist.rng import seed_of, seeded, torch_rng
from uapfp_dist.tasks.model_card import ModelCard
from uapfp_dist.tasks.run_specs import Continued
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
    reaches,
)

WATCHED_IMAGES = 1000
"""Images of EVAL on which an extraction's recovery rate is watched."""
WATCH_EVERY = 10
"""Steps between two looks at it."""


class GateError(PermanentError):
    """No attempt reached the accuracy of the model's gate."""


class NotReachedError(PermanentError):
    """An extraction never had the recovery rate that was waited for."""


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
        if gate is None or reaches(card.accuracy, least):
            card = replace(card, attempt=number, seconds=time.perf_counter() - started)
            context.store.put_new(*spec.artifact, made.net.state_dict(), card.to_json())
            return
        reached.append(f"{card.accuracy:.4f}")
    why = f"accuracy {', '.join(reached)} in {len(reached)} attempts; the gate is {least:.4f}"
    context.store.put("below_gate", spec.id, {}, {"why": why})
    raise GateError(why)


def _least_accuracy(context: TaskContext, gate: Gate | AbsoluteGate | None) -> float:
    if isinstance(gate, Gate):
        return float(context.store.get("model", gate.reference.id).info["accuracy"]) - gate.margin
    return gate.accuracy if gate else 0.0


def _make(context: TaskContext, spec: ModelSpec, number: int) -> MadeModel:
    """One attempt."""
    seed, origin = seed_of(spec.id, number), spec.origin
    rng = order_rng(seed)
    with seeded(seed, context.device):  # dropout
        if isinstance(origin, Trained):
            return train(context, spec, origin, seed, rng)
        if isinstance(origin, Extracted):
            return extract_model(context, spec, origin, seed, rng)[0]
        if isinstance(origin, Modified):
            return modify_model(context, spec, origin, seed, rng)
        if isinstance(origin, Continued):
            return continue_training(context, spec, origin, seed, rng)
        if isinstance(origin, OwnerTrained):
            net, train_digest = train_sibling(context, spec, origin, seed)
            return MadeModel(net, train_digest=train_digest)
        if isinstance(origin, Imported):
            raise UserError(f"victim: expected its weights in the store under {spec.id}, found none; enroll it again")
        return _take(context, spec, origin)


def import_model(
    context: TaskContext, spec: ModelSpec, weights: Mapping[str, Tensor], *, ignore_surplus: bool
) -> ModelCard:
    """Put an owner's model into the store; returns its card.

    Args:
        context: where.
        spec: of origin `Imported`.
        weights, ignore_surplus: see `take_weights`.

    Raises:
        UserError: weights of another architecture.
    """
    assert isinstance(spec.origin, Imported)
    net = context.empty(spec)
    take_weights(net, weights, spec.origin.mean, spec.origin.std, ignore_surplus=ignore_surplus)
    card = _card(context, spec, MadeModel(net.eval()))
    context.store.put_new(*spec.artifact, net.state_dict(), card.to_json())
    return card


def _take(context: TaskContext, spec: ModelSpec, origin: Checkpoint) -> MadeModel:
    stored = context.store.get(*origin.trajectory.artifact)
    level = f"{origin.recovery:g}"
    if level not in stored.info["reached"]:
        reached = ", ".join(stored.info["reached"]) or "none"
        raise NotReachedError(f"recovery {level} was never reached; of the levels asked for: {reached}")
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
    images, labels = dataset.to_train_on(watched, context.device), dataset.labels[watched]
    victim_net = context.net(origin.victim)

    def accuracy(net: torch.nn.Module) -> float:
        return float((predict_probabilities(net, images).argmax(1) == labels).float().mean())

    whole = max(accuracy(victim_net), 1e-9)
    seed = seed_of(spec.id, 0)
    natural = natural_images(context, model, origin)
    trainer = Trainer(context.empty(model, seed), model.recipe, order_rng(seed))
    attack = attack_by(origin.attack, origin.jacobian_labels)
    with seeded(seed, context.device):
        found = extract_trajectory(
            Blackbox(victim_net, origin.budget, origin.labels),
            natural.for_attack(attack, context.device),
            trainer,
            attack,
            rounds=origin.rounds,
            natural_share=origin.natural_share,
            recoveries=spec.recoveries,
            recovery_of=lambda net: accuracy(net) / whole,
            every=WATCH_EVERY,
            true_labels=true_labels(origin, natural, context.device),
            relabel=relabelling(origin.label_change, dataset.n_classes, seed),
        )
    tensors = {f"{r.level:g}/{name}": tensor for r in found for name, tensor in r.weights.items()}
    reached = {f"{r.level:g}": {"recovery": r.recovery, "step": r.step, "queries": r.queries} for r in found}
    context.store.put_new(*spec.artifact, tensors, {"reached": reached, "train_digest": natural.digest})


def watched_images(splits: Splits, seed: str) -> Tensor:
    """(W,) indices into EVAL, at random: a data set may lie on disk class by class."""
    drawn = torch.randperm(len(splits.eval), generator=torch_rng(seed, "watched"))[:WATCHED_IMAGES]
    return splits.eval[drawn]


def _card(context: TaskContext, spec: ModelSpec, made: MadeModel) -> ModelCard:
    """The card of a model, measured on EVAL."""
    dataset, splits = context.data(spec.data)
    images, labels = dataset.to_train_on(splits.eval, context.device), dataset.labels[splits.eval]
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

    Where the victim was extracted itself, `<attack>:<labels> of <attack>:<labels>`, and so on. An attack with images of
    another data set is `<attack> from <data set>`.
    """
    stolen = spec.extraction
    if stolen is not None:
        twice = f" of {origin_name(stolen.victim)}" if stolen.victim.extraction else ""
        return f"{stolen.attack_name}:{stolen.labels_name}{twice}"
    change = getattr(spec.root.origin, "label_change", None)
    return f"trained:{getattr(spec.root.origin, 'on', 'by its owner')}" + (f", {change.description}" if change else "")


def _named(device: torch.device) -> str:
    """`cpu`, or a GPU by its maker's name: the driver, which reports, may have none."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
