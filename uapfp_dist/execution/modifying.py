"""Modify a model: the images, the nets and the labels that its attacker has for it."""

import torch
from torch import Tensor

from uapfp_dist.attacks import ATTACKS, LabelledQueries
from uapfp_dist.attacks.extract import n_natural_queries, order_of_queries
from uapfp_dist.data.splits import index_digest, outside_of, training_set
from uapfp_dist.errors import UserError
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.natural_images import NaturalImages, natural_images
from uapfp_dist.execution.training import MadeModel, extract_model, labelled_images, order_rng
from uapfp_dist.fingerprints.variants import Variants
from uapfp_dist.models import Net
from uapfp_dist.models.training import fit
from uapfp_dist.modifications import AttackerData, modify
from uapfp_dist.pixels import as_float
from uapfp_dist.rng import seed_of, seeded, torch_rng
from uapfp_dist.tasks.method_configs import ChurnConfig
from uapfp_dist.tasks.modification_specs import AdversarialTraining, Distill, GuessedChurn, PgdTraining
from uapfp_dist.tasks.specs import Extracted, ModelSpec, Modified, Trained


def modify_model(context: TaskContext, spec: ModelSpec, origin: Modified, seed: int, rng: torch.Generator) -> MadeModel:
    """The modified net; arguments as of `execution.training.extract_model`."""
    dataset, splits = context.data(spec.data)
    unlabelled, index = _unlabelled(context, origin, spec.root, seed)
    data = AttackerData(
        dataset.pixels(splits.attack, context.device),
        dataset.labels[splits.attack].to(context.device),
        unlabelled,
    )
    change = origin.modification
    net = modify(
        context.net(origin.of),
        change,
        data,
        spec.recipe,
        rng,
        student=context.empty(spec, seed) if isinstance(change, Distill) else None,
        teacher=context.net(before_adversarial(origin)),
        siblings=_siblings(context, spec.root, change.n_siblings, seed) if isinstance(change, GuessedChurn) else (),
    )
    return MadeModel(net, train_digest=index_digest(index))


def before_adversarial(origin: Modified) -> ModelSpec:
    """The model as it was before a chain of adversarial training: its labels are the attacker's own."""
    of = origin.of
    while isinstance(of.origin, Modified) and isinstance(of.origin.modification, AdversarialTraining):
        of = of.origin.of
    return of


def _unlabelled(context: TaskContext, origin: Modified, root: ModelSpec, seed: int) -> tuple[Tensor, Tensor]:
    """The images that a modification takes beside ATTACK, and the indices that the card names."""
    dataset, splits = context.data(root.data)
    match origin.modification:
        case Distill(images="pool"):
            return dataset.pixels(outside_of(splits.d, splits.d_v), context.device), splits.attack
        case Distill(images="fresh"):
            return _fresh_images(context, root, seed)
        case PgdTraining():
            own, _ = attackers_images(context, root)
            return own.dataset.pixels(own.index, context.device), own.drawn
        case GuessedChurn(n_images=n):
            own, _ = attackers_images(context, root)
            return _moved(own.dataset.images[own.index], n, seed).to(context.device), own.drawn
    return dataset.pixels(splits.attack[:0], context.device), splits.attack


def attackers_images(context: TaskContext, root: ModelSpec) -> tuple[NaturalImages, Tensor]:
    """The images that a model's maker has beside ATTACK, and the indices of those that it was trained with.

    An attacker has the images that may be sent to the victim. An owner who trains on true labels has a training set,
    D_homo or D_v, and the rest of D. Neither has PROBE or EVAL.

    Raises:
        UserError: a model that was neither extracted nor trained on labels.
    """
    dataset, splits = context.data(root.data)
    origin = root.origin
    if isinstance(origin, Trained):
        return NaturalImages(dataset, splits.d, splits.d), training_set(splits, origin, root.seed)
    if not isinstance(origin, Extracted):
        raise UserError(
            f"modification: expected a model that was extracted or trained on labels, got {type(origin).__name__}"
        )
    pool = natural_images(context, root, origin)
    n_pool, share = len(pool.index), ATTACKS[origin.attack].natural_share(origin.natural_share)
    order = order_of_queries(n_pool, order_rng(_seed_of_made(context, root)))
    return pool, pool.index[order[: n_natural_queries(n_pool, origin.budget, share)]]


def _fresh_images(context: TaskContext, root: ModelSpec, seed: int) -> tuple[Tensor, Tensor]:
    """Images that the model was not trained with, at least as many as it was, and the indices of the natural ones."""
    dataset, splits = context.data(root.data)
    own, used = attackers_images(context, root)
    unused, attack = ~torch.isin(own.index, used), dataset.images[splits.attack]
    natural = torch.cat([own.dataset.images[own.index[unused]], attack])
    n_moved = max(0, len(used) - len(natural))
    moved = _moved(torch.cat([own.dataset.images[own.index], attack]), n_moved, seed)
    return torch.cat([as_float(natural), moved]).to(context.device), torch.cat([own.drawn[unused], splits.attack])


def _moved(images: Tensor, n: int, seed: int) -> Tensor:
    """(n, c, h, w) in [0, 1]: `images` in a random order, again and again, each under small random geometry."""
    if n == 0:
        return as_float(images[:0])
    rng = torch_rng(seed, "moved")
    order = torch.randperm(len(images), generator=rng)
    order = order.repeat(-(-n // len(order)))[:n]
    return Variants.draw(n, ChurnConfig(), rng).apply(as_float(images[order]), slice(None))


def _siblings(context: TaskContext, root: ModelSpec, n: int, seed: int) -> tuple[Net, ...]:
    """Nets by the recipe of `root` and the labels that it was trained on, from other random weights and orders."""
    data, found = _training_data(context, root), []
    for number in range(n):
        own = seed_of(seed, "sibling", number)
        net = context.empty(root, own)
        net.normalise_by(data.images)
        with seeded(own, context.device):  # dropout
            fit(net, data.images, data.targets, root.recipe, order_rng(own))
        found.append(net.eval())
    return tuple(found)


def _training_data(context: TaskContext, root: ModelSpec) -> LabelledQueries:
    """What a model was trained on. A theft is repeated for it: its crafted queries are stored nowhere."""
    origin, seed = root.origin, _seed_of_made(context, root)
    if isinstance(origin, Trained):
        return labelled_images(context, root, origin, seed)[0]
    assert isinstance(origin, Extracted), "refused where the attacker's images were looked for"
    with seeded(seed, context.device):
        return extract_model(context, root, origin, seed, order_rng(seed))[1]


def _seed_of_made(context: TaskContext, spec: ModelSpec) -> int:
    """The seed of the attempt at which a stored model reached its gate."""
    return seed_of(spec.id, context.store.get(*spec.artifact).info["attempt"])
