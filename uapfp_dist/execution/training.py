"""Train and extract: what a model of the zoo learns from, and the net that comes of it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from uapfp_dist.attacks import LabelledQueries, attack_by, extract
from uapfp_dist.data.splits import index_digest, training_set
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.natural_images import natural_images, true_labels
from uapfp_dist.models import Net
from uapfp_dist.models.blackbox import Blackbox
from uapfp_dist.models.labels import changed_labels
from uapfp_dist.models.training import Trainer, fit
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.label_specs import LabelChange
from uapfp_dist.tasks.specs import Extracted, ModelSpec, Trained


@dataclass(frozen=True)
class MadeModel:
    """A net and what its card says of its making."""

    net: Net
    queries: int = 0
    steps: int = 0
    train_digest: str = ""


def order_rng(seed: int) -> torch.Generator:
    """What draws the order of a model's images, by the seed of the attempt."""
    return torch_rng(seed, "order")


def labelled_images(context: TaskContext, spec: ModelSpec, origin: Trained, seed: int) -> tuple[LabelledQueries, str]:
    """The images of a model that is trained on true labels, those as it learns them, and the digest of the indices.

    For a trainer: on a GPU the images are uint8.
    """
    dataset, splits = context.data(spec.data)
    index = training_set(splits, origin, spec.seed)
    labels = dataset.labels[index].to(context.device)
    targets = relabelling(origin.label_change, dataset.n_classes, seed)(labels)
    return LabelledQueries(dataset.to_train_on(index, context.device), targets), index_digest(index)


def train(context: TaskContext, spec: ModelSpec, origin: Trained, seed: int, rng: torch.Generator) -> MadeModel:
    """A net trained on true labels; arguments as of `extract_model`."""
    net = context.empty(spec, seed)
    data, digest = labelled_images(context, spec, origin, seed)
    net.normalise_by(data.images)
    steps = fit(net, data.images, data.targets, spec.recipe, rng)
    return MadeModel(net, 0, steps, digest)


def extract_model(
    context: TaskContext, spec: ModelSpec, origin: Extracted, seed: int, rng: torch.Generator
) -> tuple[MadeModel, LabelledQueries]:
    """A substitute, and all that it was trained on in the end.

    Args:
        context: where.
        spec: of the substitute.
        origin: its origin.
        seed: of the attempt.
        rng: what `order_rng` gives for it.
    """
    natural = natural_images(context, spec, origin)
    trainer = Trainer(context.empty(spec, seed), spec.recipe, rng)
    victim = Blackbox(context.net(origin.victim), origin.budget, origin.labels)
    attack = attack_by(origin.attack, origin.jacobian_labels)
    data = extract(
        victim,
        natural.for_attack(attack, context.device),
        trainer,
        attack,
        rounds=origin.rounds,
        natural_share=origin.natural_share,
        true_labels=true_labels(origin, natural, context.device),
        relabel=relabelling(origin.label_change, context.data(spec.data)[0].n_classes, seed),
    )
    assert isinstance(trainer.net, Net)
    return MadeModel(trainer.net, victim.queries, trainer.step, natural.digest), data


def relabelling(change: LabelChange | None, n_classes: int, seed: int) -> Callable[[Tensor], Tensor]:
    """What a model's maker does to labels before training on them; randomness of its own, so that order stays."""
    if change is None:
        return lambda targets: targets
    return partial(changed_labels, change=change, n_classes=n_classes, rng=torch_rng(seed, "labels"))
