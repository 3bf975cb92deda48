"""scikit-learn's embedded digits: 1,797 images of 8x8. They need no download and no files."""

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits as sklearn_digits

from uapfp_dist.data.dataset import Dataset


def load_digits(data_root: Path | None = None, n_classes: int | None = None) -> Dataset:
    """Digits, the 17 grey levels scaled to 8 bits. `data_root` is not used."""
    raw = sklearn_digits()
    pixels = np.rint(raw.images * (255.0 / 16.0)).astype(np.uint8)
    return Dataset(
        name="digits",
        images=torch.from_numpy(pixels)[:, None],
        labels=torch.from_numpy(raw.target.astype(np.int64)),
        class_names=tuple(str(digit) for digit in range(10)),
        n_train=None,
    ).first(n_classes)
