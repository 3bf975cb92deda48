"""Data sets in named parts, split as in `evaluate`."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from uapfp_dist.api.images import LabelledImages
from uapfp_dist.config.schema import DataConfig
from uapfp_dist.data import Dataset, Splits, make_splits
from uapfp_dist.data import load as load_dataset
from uapfp_dist.data.splits import outside_of, training_set
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import data_spec, model_seed
from uapfp_dist.tasks.members import Role
from uapfp_dist.tasks.specs import Trained


@dataclass(frozen=True, eq=False)
class Data:
    """A data set in named parts (paper Section 5.1); `load` makes it. Parts are made when first used.

    D is what models train on; half of it is the victim's. What lies outside is split into the owner's `probe`, the
    `attacker`'s labelled images, and the `test` set.
    """

    dataset: Dataset
    """All images, 8 bits."""
    config: DataConfig
    """How they are split."""
    seed: int
    """Of the splits."""
    device: torch.device

    @cached_property
    def splits(self) -> Splits:
        """Indices of the parts into `dataset`."""
        return make_splits(self.dataset, data_spec(self.config, self.seed, self.dataset))

    @cached_property
    def victim_set(self) -> LabelledImages:
        """D_v: what the victim is trained on."""
        return self._part(self.splits.d_v)

    @cached_property
    def pool(self) -> LabelledImages:
        """The rest of D: natural images that an attacker sends to the victim, without their true labels."""
        return self._part(outside_of(self.splits.d, self.splits.d_v))

    @cached_property
    def probe(self) -> LabelledImages:
        """PROBE: the owner's alone. No model is trained on them."""
        return self._part(self.splits.probe)

    @cached_property
    def attacker(self) -> LabelledImages:
        """ATTACK: a few labelled images of the attacker's own, for fine-tuning."""
        return self._part(self.splits.attack)

    @cached_property
    def test(self) -> LabelledImages:
        """EVAL: what accuracy is measured on."""
        return self._part(self.splits.eval)

    def homologous(self, i: int) -> LabelledImages:
        """The training set of independent model `i`: as large as the victim's, drawn from D, so that half is shared.

        `evaluate` trains its independent model `i` on the same images.
        """
        return self._part(self._homologous(i))

    def homologous_pool(self, i: int) -> LabelledImages:
        """The rest of D: what an attacker sends to a model that was trained on `homologous(i)`."""
        return self._part(outside_of(self.splits.d, self._homologous(i)))

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.dataset.n_classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """(c, h, w) of one image."""
        return self.dataset.shape

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape))
        sizes = {name: len(getattr(self.splits, name)) for name in ("d", "d_v", "probe", "attack", "eval")}
        return (
            f"Data({self.dataset.name}, seed {self.seed}: images of {shape}, {self.n_classes} classes; victim_set "
            f"{sizes['d_v']}, pool {sizes['d'] - sizes['d_v']}, probe {sizes['probe']}, attacker {sizes['attack']}, "
            f"test {sizes['eval']})"
        )

    def _homologous(self, i: int) -> Tensor:
        if i < 0:
            raise UserError(f"i: expected 0 or more, got {i}", argument="i")
        return training_set(self.splits, Trained("homologous_set"), model_seed(self.seed, Role.HOMOLOGOUS, i))

    def _part(self, index: Tensor) -> LabelledImages:
        labels = self.dataset.labels[index].to(self.device)
        return LabelledImages(self.dataset.pixels(index, self.device), labels, self.n_classes)


def load(
    name: str,
    root: Path | str | None = None,
    seed: int = 0,
    *,
    n_classes: int | None = None,
    size: tuple[int, int] | None = None,
    train_share: float = DataConfig.train_share,
    outside_shares: tuple[float, float, float] = DataConfig.outside_shares,
    device: torch.device | str = "cpu",
) -> Data:
    """A data set, split into what the victim, the attacker and the owner may see; nothing is downloaded.

    Args:
        name: digits (needs no files), fashion_mnist, cifar10, tiny_imagenet, or imagefolder: a folder of your own,
            FOLDER/<class>/<file>.
        root: the folder of the files.
        seed: of the splits; the same as in `evaluate`.
        n_classes: only the first so many classes; None: all.
        size: (height, width) for the images of an imagefolder; None: as they are, or their median.
        train_share: share of all images that models train on, where there is no official test set.
        outside_shares: how the rest is shared between `probe`, `attacker` and `test`; sums to 1.
        device: where the parts are; training follows them.

    Raises:
        UserError: an unknown name, missing or damaged files, shares that leave a part empty.

    >>> import uapfp_dist as ufp
    >>> data = ufp.load("digits")
    >>> data
    Data(digits, seed 0: images of 1x8x8, 10 classes; victim_set 750, pool 750, probe 148, attacker 59, test 90)
    >>> data.victim_set.images.shape, data.homologous(0)
    (torch.Size([750, 1, 8, 8]), LabelledImages(750 images of 1x8x8, 10 classes))
    """
    config = DataConfig(name, train_share, outside_shares, n_classes, size)
    if not 0 < train_share < 1:
        raise UserError(f"train_share: expected a share between 0 and 1, got {train_share}", argument="train_share")
    dataset = load_dataset(name, None if root is None else Path(root).expanduser(), n_classes, config.shape)
    data = Data(dataset, config, seed, torch.device(device))
    _ = data.splits
    return data
