"""What a data set holds, in lines that a person reads before anything is trained."""

import statistics

from uapfp_dist.data.dataset import Dataset
from uapfp_dist.data.file_names import shown

FEW_CLASSES = 10
"""Up to so many classes are listed one by one."""


def summary_lines(dataset: Dataset) -> list[str]:
    """Images per class and part, then how the files were read."""
    n, n_train = len(dataset.labels), dataset.n_train
    first = f"{dataset.name}: {n} images of {dataset.n_classes} classes, {'x'.join(map(str, dataset.shape))}"
    if n_train is None:
        parts = [("no images are set apart for testing, so splits are drawn from all", 0, n)]
    else:
        parts = [(f"{n_train} training images", 0, n_train), (f"{n - n_train} test images", n_train, n)]
    lines = [f"  {title}; {_per_class(dataset, start, end)}" for title, start, end in parts]
    return [first, *lines, *(f"  {fact}" for fact in dataset.facts)]


def _per_class(dataset: Dataset, start: int, end: int) -> str:
    counts = dataset.labels[start:end].bincount(minlength=dataset.n_classes).tolist()
    if dataset.n_classes <= FEW_CLASSES:
        return ", ".join(f"{shown(name)} {n}" for name, n in zip(dataset.class_names, counts, strict=True))
    least, most = (
        f"{n} ({shown(dataset.class_names[counts.index(n)])})"  # the first class of so many
        for n in (min(counts), max(counts))
    )
    return f"{least} to {most} a class, median {statistics.median(counts):g}"
