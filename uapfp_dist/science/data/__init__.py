"""Data sets by name. To add one: a file with a loader, a line in DATASETS."""

from pathlib import Path

from uapfp_dist.errors import UserError, known
from uapfp_dist.science.data.dataset import Dataset
from uapfp_dist.science.data.digits import load_digits
from uapfp_dist.science.data.fashion_mnist import load_fashion_mnist
from uapfp_dist.science.data.imagefolder import load_imagefolder
from uapfp_dist.science.data.splits import Splits, make_splits

DATASETS = {
    "digits": load_digits,
    "fashion_mnist": load_fashion_mnist,
    "imagefolder": load_imagefolder,
}

FEWEST_PER_CLASS = 10
"""A class with fewer images would all but surely be missing from D_v, PROBE, ATTACK or EVAL."""

__all__ = ["DATASETS", "Dataset", "Splits", "load", "make_splits"]


def load(name: str, data_root: Path | None) -> Dataset:
    """The data set `name` from `data_root`, checked.

    Raises:
        UserError: unknown name, missing or torn files, a class with too few images.
    """
    if name not in DATASETS:
        raise known("data set", name, DATASETS)
    dataset = DATASETS[name](data_root)
    counts = dataset.labels.bincount(minlength=dataset.n_classes)
    fewest = int(counts.argmin())
    if counts[fewest] < FEWEST_PER_CLASS:
        raise UserError(
            f"data set {name!r}: expected at least {FEWEST_PER_CLASS} images of every class, class "
            f"{dataset.class_names[fewest]!r} has {int(counts[fewest])}; add images or remove the class"
        )
    return dataset
