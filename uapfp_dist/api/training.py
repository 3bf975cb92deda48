"""Train a model, or extract one."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from uapfp_dist.api.checks import (
    PoolVictim,
    check_classes,
    check_range,
    check_whole,
    checked_data,
    checked_model,
    digest,
    images_of,
    n_classes_of,
    outputs_of,
    told_in_one_line,
    weights_digest,
)
from uapfp_dist.api.images import LabelledImages
from uapfp_dist.api.model import wrap
from uapfp_dist.attacks import ATTACKS, DivergedError, TrueLabels
from uapfp_dist.attacks import extract as run_extraction
from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.models import Net, build
from uapfp_dist.models.custom import CustomNet, is_import_path
from uapfp_dist.models.training import PEAK_RATES, Trainer, fit
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.rng import seed_of, seeded, torch_rng
from uapfp_dist.tasks.specs import Recipe

Factory = Callable[[int, tuple[int, int, int]], nn.Module]
"""(n_classes, (c, h, w)) to a module with random weights, from images in [0, 1] to logits."""
Architecture = str | Factory


def train(
    architecture: Architecture,
    data: LabelledImages,
    *,
    epochs: float = 30.0,
    optimizer: str = "adam",
    batch_size: int = 64,
    width: int = 8,
    augment: bool = False,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
) -> Net:
    """Train a new model on labelled images, on their device.

    Args:
        architecture: A to E of the paper's Table 1, residual, mlp, any classification net of torchvision,
            `package.module:factory`, or a factory: `factory(n_classes, (c, h, w))` gives a module from images in
            [0, 1] to logits.
        data: what it is trained on.
        epochs: passes over the images, above 0.
        optimizer: sgd, adam or rmsprop.
        batch_size: images in a step.
        width: channels of the first half of A to E, residual and mlp; nets of torchvision have their own.
        augment: shift and mirror the images; not for digits, which have a handedness.
        precision: of the arithmetic; weights stay float32.
        seed: of every random choice, together with all other arguments: models of other images share no random choice.

    Returns:
        a module from (B, c, h, w) in [0, 1] to (B, n_classes) logits, in evaluation mode; it normalises inside.

    Raises:
        UserError: an unknown name, a number out of range.

    >>> import uapfp_dist as ufp
    >>> data = ufp.load("digits")
    >>> victim = ufp.train("A", data.victim_set, epochs=10)
    >>> ufp.accuracy(victim, data.test) > 0.85
    True
    >>> ufp.train("AA", data.victim_set)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    uapfp_dist.errors.UserError: unknown architecture 'AA'...
    """
    data = checked_data(data, "data")
    recipe = recipe_of(optimizer, batch_size, epochs * len(data), augment, precision)
    number = seed_of("train", architecture_name(architecture), width, recipe, digest(data.images, data.labels), seed)
    net = new_net(architecture, data.shape, data.n_classes, width, number, data.images.device)
    net.normalise_by(data.images)
    with seeded(number, data.images.device):
        fit(net, data.images, data.labels, recipe, torch_rng(number, "order"))
    return net


def extract(
    victim: Net,
    pool: LabelledImages | Tensor,
    *,
    budget: int,
    attack: str = "knockoff",
    architecture: Architecture = "C",
    labels: str = "label",
    rounds: int = 3,
    natural_share: float = 0.6,
    true_share: float = 0.0,
    epochs: float = 30.0,
    optimizer: str = "adam",
    batch_size: int = 64,
    width: int = 8,
    augment: bool = False,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
) -> Net:
    """Steal a model: train another one on the victim's responses alone (paper Section 2, Definition 2).

    Args:
        victim: is queried, with `budget` images at most; nothing else of it is used.
        pool: (N, c, h, w) natural images in [0, 1] of the attacker's own, in the victim's shape: a tensor, or
            LabelledImages of the victim's classes.
        budget: images that the victim is sent, at most; at least 1.
        attack: knockoff (natural images alone, each once: what goes beyond N stays unspent), cloudleak,
            cloudleak_features, or jacobian, which send crafted images after natural ones and spend the whole budget.
        architecture: of the substitute, as for `train`.
        labels: what the victim responds with: label, probabilities, or top<k> such as top3.
        rounds: rounds of crafted images.
        natural_share: share of the budget, in (0, 1], that is spent on natural images before those.
        true_share: share, in [0, 1), of knockoff's images that are trained on with true labels; `pool` must have them.
        epochs: images seen in training, in multiples of N.
        optimizer, batch_size, width, augment, precision, seed: as for `train`.

    Returns:
        as `train`; its attribute `queries` is the number of images that the victim was sent.

    Raises:
        UserError: an unknown name, a budget below 1, images outside [0, 1] or of a shape that the victim does not take,
            a victim that gives NaN, a substitute whose weights are no longer finite.

    >>> import uapfp_dist as ufp
    >>> data = ufp.load("digits")
    >>> victim = ufp.train("A", data.victim_set, epochs=10)
    >>> stolen = ufp.extract(victim, data.pool, budget=600, attack="jacobian", labels="top3", epochs=10)
    >>> stolen.queries, ufp.accuracy(stolen, data.test) > 0.75
    (600, True)
    """
    victim, images = checked_model(victim, "victim"), images_of(pool, "pool")
    if attack not in ATTACKS:
        raise unknown_name("attack", attack, ATTACKS, argument="attack")
    check_range("natural_share", natural_share, 1e-6, 1.0)
    check_range("rounds", rounds, 0)
    if isinstance(pool, LabelledImages):
        check_classes(victim, pool.n_classes, "victim")
    recipe = recipe_of(optimizer, batch_size, epochs * len(images), augment, precision)
    api = PoolVictim(victim, budget, ResponseFormat.parse(labels, argument="labels"))
    given = attack, labels, budget, rounds, natural_share, true_share, architecture_name(architecture), width, recipe
    number = seed_of("extract", *given, weights_digest(victim), digest(images), seed)
    c, h, w = images.shape[1:]
    net = new_net(architecture, (c, h, w), n_classes_of(victim), width, number, images.device)
    trainer = Trainer(net, recipe, torch_rng(number, "order"))
    true_labels = _true_labels(pool, true_share)
    method = ATTACKS[attack]
    with told_in_one_line(), seeded(number, images.device):
        try:
            run_extraction(
                api, images, trainer, method, rounds=rounds, natural_share=natural_share, true_labels=true_labels
            )
        except DivergedError as error:
            raise UserError(str(error)) from error
    net.queries = api.queries
    return net


def accuracy(model: Net, data: LabelledImages) -> float:
    """Share of `data` that a model labels right, in [0, 1].

    Raises:
        UserError: a plain module, other classes, or a model that gives NaN.
    """
    model, data = checked_model(model, "model"), checked_data(data, "data", model)
    probabilities = outputs_of(model, data.images, "model", "data")
    return float((probabilities.argmax(1) == data.labels.cpu()).float().mean())


def _true_labels(pool: LabelledImages | Tensor, share: float) -> TrueLabels | None:
    if not share:
        return None
    if not isinstance(pool, LabelledImages):
        raise UserError("pool: expected LabelledImages with true_share, got a tensor; give labels", argument="pool")
    return TrueLabels(pool.labels, share)


def recipe_of(
    optimizer: str,
    batch_size: int,
    samples: float,
    augment: bool = False,
    precision: Literal["float32", "bfloat16"] = "float32",
) -> Recipe:
    """How a net is trained.

    Raises:
        UserError: an unknown name, a number out of range.
    """
    if optimizer not in PEAK_RATES:
        raise unknown_name("optimizer", optimizer, PEAK_RATES, argument="optimizer")
    if precision not in ("float32", "bfloat16"):
        raise unknown_name("precision", precision, ("float32", "bfloat16"), argument="precision")
    check_whole("batch_size", batch_size)
    if not 0 < samples < math.inf:
        raise UserError("epochs: expected a number above 0", argument="epochs")
    return Recipe(optimizer, batch_size, math.ceil(samples), augment, precision)


def new_net(
    architecture: Architecture,
    shape: tuple[int, int, int],
    n_classes: int,
    width: int,
    seed: int,
    device: torch.device,
) -> Net:
    """A net with the random weights of `seed`.

    Raises:
        UserError: an unknown name, a factory whose module gives no logits.
    """
    check_whole("width", width, 1, 4096)
    if isinstance(architecture, str) and not is_import_path(architecture):
        return build(architecture, shape, n_classes, width, seed, device)
    with seeded(seed, torch.device("cpu")):
        if isinstance(architecture, str):
            return CustomNet(architecture, shape, n_classes).to(device)
        net = wrap(architecture(n_classes, shape), n_classes).to(device)
    with torch.no_grad():
        net(torch.zeros(2, *shape, device=device))
    return net


def architecture_name(architecture: Architecture) -> str:
    """The name itself, or that of a factory.

    Raises:
        UserError: neither.
    """
    if isinstance(architecture, nn.Module) or not (isinstance(architecture, str) or callable(architecture)):
        raise UserError(
            f"architecture: expected a name or a factory (n_classes, shape) -> module, got "
            f"{type(architecture).__name__}",
            argument="architecture",
        )
    return architecture if isinstance(architecture, str) else getattr(architecture, "__qualname__", "factory")
