"""A folder of one's own: one sub-folder per class, optionally under train/ and test/."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.datasets import ImageFolder

from uapfp_dist.errors import UserError
from uapfp_dist.science.data.dataset import Dataset

LAYOUT = "expected FOLDER/<class>/<image> or FOLDER/{train,test}/<class>/<image>"


def load_imagefolder(data_root: Path | None) -> Dataset:
    """Images of `data_root` as RGB (or grey where all are grey), at the size of the first one.

    Raises:
        UserError: missing or empty folder, a corrupt image, train/ and test/ with different classes.
    """
    if data_root is None or not data_root.is_dir():
        raise UserError(f"imagefolder: {LAYOUT}, found no folder {data_root}; pass --data-root FOLDER")
    parts = [data_root / "train", data_root / "test"]
    split = all(part.is_dir() for part in parts)
    folders = [_scan(part) for part in (parts if split else [data_root])]
    if split and folders[0].classes != folders[1].classes:
        odd = sorted(set(folders[0].classes) ^ set(folders[1].classes))
        raise UserError(f"imagefolder: expected the same classes under train/ and test/, differ in: {', '.join(odd)}")
    samples = [sample for folder in folders for sample in folder.samples]
    with _open(samples[0][0]) as first:
        size = first.size
    grey = all(_is_grey(path) for path, _ in samples)
    images = torch.stack([_read(path, size, "L" if grey else "RGB") for path, _ in samples])
    labels = torch.tensor([label for _, label in samples])
    n_train = len(folders[0].samples) if split else None
    return Dataset("imagefolder", images, labels, tuple(folders[0].classes), n_train)


def _scan(folder: Path) -> ImageFolder:
    try:
        return ImageFolder(str(folder))
    except FileNotFoundError as error:
        cause = str(error).splitlines()[0]
        raise UserError(f"imagefolder: {LAYOUT}, in {folder} found none ({cause}); pass --data-root FOLDER") from error


def _open(path: str) -> Image.Image:
    try:
        return Image.open(path)
    except (UnidentifiedImageError, OSError) as error:
        raise UserError(f"imagefolder: cannot read the image {path} ({error}); repair or remove it") from error


def _is_grey(path: str) -> bool:
    with _open(path) as image:
        return image.mode in {"1", "L"}


def _read(path: str, size: tuple[int, int], mode: str) -> Tensor:
    with _open(path) as image:
        try:
            pixels = np.asarray(image.convert(mode).resize(size, Image.Resampling.BILINEAR))
        except (OSError, SyntaxError, ValueError) as error:
            raise UserError(f"imagefolder: the image {path} is torn ({error}); repair or remove it") from error
    tensor = torch.from_numpy(pixels.copy())
    return tensor[None] if mode == "L" else tensor.permute(2, 0, 1).contiguous()
