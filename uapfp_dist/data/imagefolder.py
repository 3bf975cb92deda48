"""A folder of images of the user: one sub-folder per class, optionally under train/ and test/."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import ImageFolder

from uapfp_dist.data.cache import decoded
from uapfp_dist.data.dataset import Dataset, first_classes
from uapfp_dist.data.images import open_image, read_image
from uapfp_dist.errors import UserError

NAME = "imagefolder"
LAYOUT = "expected FOLDER/<class>/<image> or FOLDER/{train,test}/<class>/<image>"


def load_imagefolder(data_root: Path | None, n_classes: int | None = None) -> Dataset:
    """Images of `data_root` as RGB (or grey where all are grey), at the size of the first one.

    Raises:
        UserError: missing or empty folder, a corrupt image, train/ and test/ with different classes.
    """
    if data_root is None or not data_root.is_dir():
        raise UserError(f"{NAME}: {LAYOUT}, found no folder {data_root}; give the folder", argument="data_root")
    parts = [data_root / "train", data_root / "test"]
    split = all(part.is_dir() for part in parts)
    folders = [_scan(part) for part in (parts if split else [data_root])]
    if split and folders[0].classes != folders[1].classes:
        odd = sorted(set(folders[0].classes) ^ set(folders[1].classes))
        raise UserError(
            f"{NAME}: expected the same classes under train/ and test/, got different ones: {', '.join(odd)}"
        )
    classes, note = first_classes(NAME, tuple(folders[0].classes), n_classes)
    samples = [[(Path(p), label) for p, label in f.samples if label < len(classes)] for f in folders]
    files, labels = zip(*(sample for part in samples for sample in part), strict=True)
    images = decoded(NAME, files, lambda: _decode(files))
    n_train = len(samples[0]) if split else None
    return Dataset(NAME, images, torch.tensor(labels), classes, n_train, note)


def _scan(folder: Path) -> ImageFolder:
    try:
        return ImageFolder(str(folder))
    except OSError as error:
        cause = str(error).splitlines()[0]
        raise UserError(
            f"{NAME}: {LAYOUT}, in {folder} found none ({cause}); choose another folder", argument="data_root"
        ) from error


def _decode(files: Sequence[Path]) -> Tensor:
    with open_image(NAME, files[0]) as first:
        size = first.size
    mode = "L" if all(_is_grey(path) for path in files) else "RGB"
    return torch.stack([read_image(NAME, path, mode, size) for path in files])


def _is_grey(path: Path) -> bool:
    with open_image(NAME, path) as image:
        return image.mode in {"1", "L"}
