"""The natural images of an attacker: those of D that its victim was not trained on, or those of another data set."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from uapfp_dist.attacks import Attack, TrueLabels
from uapfp_dist.data import Dataset
from uapfp_dist.data.splits import attack_pool, drawn_from, index_digest
from uapfp_dist.data.to_shape import to_shape
from uapfp_dist.errors import UserError
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.tasks.specs import Extracted, ModelSpec


@dataclass(frozen=True, eq=False)
class NaturalImages:
    """What an attacker may send."""

    dataset: Dataset
    """Has them, in the victim's shape."""
    index: Tensor
    """(N,) int64: which of its images they are."""
    drawn: Tensor
    """(N,) int64: their indices into the data set that they come from."""

    @property
    def digest(self) -> str:
        """Of those."""
        return index_digest(self.drawn)

    def for_attack(self, attack: Attack, device: torch.device) -> Tensor:
        """(N, c, h, w) as a trainer takes them where nothing is crafted of them; else in [0, 1]."""
        if attack.crafts_queries:
            return self.dataset.pixels(self.index, device)
        return self.dataset.to_train_on(self.index, device)


def natural_images(context: TaskContext, spec: ModelSpec, origin: Extracted) -> NaturalImages:
    """Those of the attacker who made `spec`.

    Of another data set no more are drawn, and brought to the victim's shape, than the budget can send.

    Raises:
        UserError: other images in the data root than those that the spec names.
    """
    dataset, splits = context.data(spec.data)
    if origin.pool is None:
        index = attack_pool(splits, origin, spec.seed)
        return NaturalImages(dataset, index, index)
    other = context.attack_pool(origin.pool)
    index = drawn_from(len(other.labels), origin.budget, spec.seed)
    images = to_shape(other.images[index], dataset.shape)
    drawn = replace(other, images=images, labels=other.labels[index], n_train=None, files=())
    return NaturalImages(drawn, torch.arange(len(index)), index)


def true_labels(origin: Extracted, natural: NaturalImages, device: torch.device) -> TrueLabels | None:
    """Those that a mixing attacker has of its natural images; None of others.

    Raises:
        UserError: images of another data set, which have no true label among the victim's classes.
    """
    if not origin.true_share:
        return None
    if origin.pool is not None:
        raise UserError(
            f"true_share: expected 0 with images of {origin.pool.name}, which have no true label among the victim's "
            f"classes, got {origin.true_share:g}; leave the pool out"
        )
    return TrueLabels(natural.dataset.labels[natural.index].to(device), origin.true_share)
