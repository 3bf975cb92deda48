"""CIFAR-10 (Krizhevsky, 2009): the official batches, or JPEG copies in a folder per class."""

from pathlib import Path

import numpy as np
import torch
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import check_md5

from uapfp_dist.data.cache import decoded
from uapfp_dist.data.dataset import Dataset, first_classes, join_notes
from uapfp_dist.data.images import class_files, decode_rgb, labels_of
from uapfp_dist.data.official import official_parts
from uapfp_dist.errors import UserError

NAME = "cifar10"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
N_TRAIN, N_TEST = 50_000, 10_000
SIDE = 32


def load_cifar10(data_root: Path | None, n_classes: int | None = None) -> Dataset:
    """50,000 + 10,000 images of 32x32 from `data_root`.

    They are read from `cifar-10-batches-py` (torchvision's layout), else from `cifar10/{train,test}/<class>/*.jpg`;
    if both are missing, the official batches are downloaded.

    Raises:
        UserError: no data root, images missing and not downloadable, a corrupt file, a class without images.
    """
    if data_root is None:
        raise UserError(
            "cifar10: expected a data folder, got none; give one or set UAPFP_DATA "
            "(missing files are downloaded there where the network allows)",
            argument="data_root",
        )
    folder = data_root / "cifar10"
    if folder.is_dir() and not (data_root / CIFAR10.base_folder).is_dir():
        return _from_folders(folder, n_classes)
    return _from_batches(data_root).first(n_classes)


def _from_batches(data_root: Path) -> Dataset:
    where = data_root / CIFAR10.base_folder
    remedy = f"put them there, allow the download, or put JPEGs into {data_root}/cifar10/{{train,test}}/<class>/*.jpg"
    md5 = {where / file: str(digest) for file, digest in (*CIFAR10.train_list, *CIFAR10.test_list)}
    md5[where / CIFAR10.meta["filename"]] = CIFAR10.meta["md5"]
    expected = f"the six official batches and {CIFAR10.meta['filename']} in {where}"
    parts = official_parts(NAME, CIFAR10, data_root, expected, remedy, [*md5], lambda path: check_md5(path, md5[path]))
    images = torch.from_numpy(np.concatenate([part.data for part in parts])).permute(0, 3, 1, 2).contiguous()
    labels = torch.tensor([label for part in parts for label in part.targets])
    return Dataset(NAME, images, labels, CLASSES, len(parts[0].targets))


def _from_folders(folder: Path, n_classes: int | None) -> Dataset:
    classes, part_note = first_classes(NAME, CLASSES, n_classes)
    train, test = (class_files(NAME, [folder / part / c for c in classes]) for part in ("train", "test"))
    labels = torch.cat([labels_of(train), labels_of(test)])
    files = [file for group in (*train, *test) for file in group]
    images = decoded(NAME, files, lambda: decode_rgb(NAME, files, SIDE))
    n_train, share = sum(map(len, train)), len(classes) / len(CLASSES)
    counts = (n_train, len(files) - n_train)
    published = (round(N_TRAIN * share), round(N_TEST * share))
    missing = f"{counts[0]} + {counts[1]} of {published[0]} + {published[1]} images" if counts != published else ""
    note = join_notes("JPEG copies of CIFAR-10", missing, part_note)
    return Dataset(NAME, images, labels, classes, n_train, note)
