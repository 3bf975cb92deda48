"""Fashion-MNIST in torchvision's layout."""

from pathlib import Path

import torch
from torchvision.datasets import FashionMNIST

from uapfp_dist.errors import UserError
from uapfp_dist.science.data.dataset import Dataset


def load_fashion_mnist(data_root: Path | None) -> Dataset:
    """60,000 + 10,000 images of 28x28 from `data_root/FashionMNIST/raw`, downloaded there if they are missing.

    Raises:
        UserError: no data root, files missing and not to be had, or torn.
    """
    if data_root is None:
        raise UserError(
            "fashion_mnist: expected a data folder, none was given; pass --data-root PATH or set UAPFP_DATA "
            "(missing files are downloaded there where the network allows)"
        )
    where = data_root / "FashionMNIST" / "raw"
    try:
        parts = [_part(data_root, train) for train in (True, False)]
    except UserError:
        raise
    except Exception as error:  # torchvision raises anything from EOFError to URLError here
        cause = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"fashion_mnist: expected the four IDX files in {where}, could not read or download them ({cause}); "
            "put the files there or allow the download"
        ) from error
    images = torch.cat([part.data for part in parts])[:, None].contiguous()
    labels = torch.cat([part.targets for part in parts]).long()
    if images.shape != (70_000, 1, 28, 28) or labels.shape != (70_000,):
        raise UserError(
            f"fashion_mnist: expected 70,000 images of 28x28 in {where}, got {tuple(images.shape)} with "
            f"{len(labels)} labels; remove the folder and fetch it again"
        )
    return Dataset("fashion_mnist", images, labels, tuple(parts[0].classes), n_train=60_000)


def _part(data_root: Path, train: bool) -> FashionMNIST:
    try:
        return FashionMNIST(str(data_root), train=train, download=False)
    except RuntimeError as missing:
        if "not found" not in str(missing):
            raise
        if not data_root.is_dir():  # a mistyped path must not become a folder
            raise FileNotFoundError(f"no folder {data_root}") from missing
        return FashionMNIST(str(data_root), train=train, download=True)
