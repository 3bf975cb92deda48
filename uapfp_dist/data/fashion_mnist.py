"""Fashion-MNIST in torchvision's layout."""

import math
from pathlib import Path

import torch
from torchvision.datasets import FashionMNIST

from uapfp_dist.data.dataset import Dataset
from uapfp_dist.data.official import official_parts
from uapfp_dist.errors import UserError

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def load_fashion_mnist(data_root: Path | None, n_classes: int | None = None) -> Dataset:
    """60,000 + 10,000 images of 28x28 from `data_root/FashionMNIST/raw`, downloaded there if they are missing.

    Raises:
        UserError: no data root, files missing and not downloadable, or corrupt.
    """
    if data_root is None:
        raise UserError(
            "fashion_mnist: expected a data folder, got none; give one or set UAPFP_DATA "
            "(missing files are downloaded there where the network allows)",
            argument="data_root",
        )
    where = data_root / "FashionMNIST" / "raw"
    expected, remedy = f"the four IDX files in {where}", "put the files there or allow the download"
    files = [where / name for name in FILES]
    parts = official_parts("fashion_mnist", FashionMNIST, data_root, expected, remedy, files, _is_whole)
    images = torch.cat([part.data for part in parts])[:, None].contiguous()
    labels = torch.cat([part.targets for part in parts]).long()
    if images.shape != (70_000, 1, 28, 28) or labels.shape != (70_000,):
        raise UserError(
            f"fashion_mnist: expected 70,000 images of 28x28 in {where}, got {tuple(images.shape)} with "
            f"{len(labels)} labels; remove the folder and fetch it again"
        )
    return Dataset("fashion_mnist", images, labels, tuple(parts[0].classes), n_train=60_000).first(n_classes)


def _is_whole(path: Path) -> bool:
    """Whether an IDX file has as many bytes as its header says."""
    with path.open("rb") as file:
        start = file.read(16)
    n_sizes = start[3] if len(start) > 3 else 0
    sizes = [int.from_bytes(start[4 * i : 4 * i + 4], "big") for i in range(1, n_sizes + 1)]
    return n_sizes > 0 and path.stat().st_size == 4 * (n_sizes + 1) + math.prod(sizes)
