"""Data sets by name. To add one: a file with a loader, a line in DATASETS."""

from collections.abc import Callable
from pathlib import Path

from uapfp_dist.data.cifar10 import load_cifar10
from uapfp_dist.data.dataset import Dataset
from uapfp_dist.data.digits import load_digits
from uapfp_dist.data.fashion_mnist import load_fashion_mnist
from uapfp_dist.data.imagefolder import load_imagefolder
from uapfp_dist.data.tiny_imagenet import load_tiny_imagenet
from uapfp_dist.errors import UserError, unknown_name

Loader = Callable[[Path | None, int | None], Dataset]
"""(data root, number of classes or None for all) to a data set."""

DATASETS: dict[str, Loader] = {
    "digits": load_digits,
    "fashion_mnist": load_fashion_mnist,
    "cifar10": load_cifar10,
    "tiny_imagenet": load_tiny_imagenet,
    "imagefolder": load_imagefolder,
}

LARGEST_SIDE = 10_000
FEWEST_PER_CLASS = 10
"""A class with fewer images would almost surely be missing from D_v, PROBE, ATTACK or EVAL."""


def load(
    name: str, data_root: Path | None, n_classes: int | None = None, size: tuple[int, int] | None = None
) -> Dataset:
    """The data set `name` from `data_root`, checked; only its first `n_classes` classes unless that is None.

    Classes are numbered by their labels; for folders, in the order of the sorted names.

    Args:
        name: a key of `DATASETS`.
        data_root: the folder of its files.
        n_classes: number of classes; None: all.
        size: (height, width) of the images of a folder; None: as they are, or their median.

    Raises:
        UserError: unknown name, missing or corrupt files, a class with too few images, too few or too many classes.
    """
    if name not in DATASETS:
        raise unknown_name("data set", name, DATASETS)
    if size is not None and not 1 <= min(size) <= max(size) <= LARGEST_SIDE:
        raise UserError(
            f"data.size: expected sides from 1 to {LARGEST_SIDE}, got {size[0]}x{size[1]}; choose another",
            argument="data.size",
        )
    if size is None:
        dataset = DATASETS[name](data_root, n_classes)
    elif name == "imagefolder":
        dataset = load_imagefolder(data_root, n_classes, size)
    else:
        raise UserError(
            f"data.size: expected with imagefolder alone, got it with {name}, whose images have one size; leave it out",
            argument="data.size",
        )
    counts = dataset.labels.bincount(minlength=dataset.n_classes)
    fewest = int(counts.argmin())
    if counts[fewest] < FEWEST_PER_CLASS:
        raise UserError(
            f"data set {name!r}: expected at least {FEWEST_PER_CLASS} images of every class, class "
            f"{dataset.class_names[fewest]!r} has {int(counts[fewest])}; add images or remove the class"
        )
    return dataset
