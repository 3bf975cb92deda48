"""Image files to 8-bit pixels. No file is skipped: one that cannot be read is an error that names it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS

from uapfp_dist.errors import UserError


def class_files(name: str, folders: Sequence[Path]) -> list[list[Path]]:
    """The images of each class, sorted by name; `folders` holds one folder per class.

    Raises:
        UserError: a folder that is missing or holds no image.
    """
    groups = [
        sorted(path for path in folder.glob("[!.]*") if path.suffix.lower() in IMG_EXTENSIONS) for folder in folders
    ]
    if without := [folder for folder, group in zip(folders, groups, strict=True) if not group]:
        state = "holds none" if without[0].is_dir() else "is missing"
        more = f" ({len(without)} of {len(folders)} classes have none)" * (len(without) > 1)
        raise UserError(
            f"{name}: expected images of every class, {without[0]} {state}{more}; complete the copy",
            argument="data_root",
        )
    return groups


def labels_of(groups: Sequence[Sequence[object]]) -> Tensor:
    """(N,) int64: for every member, group after group, the number of its group."""
    return torch.arange(len(groups)).repeat_interleave(torch.tensor([len(group) for group in groups]))


def decode_rgb(name: str, files: Sequence[Path], side: int) -> Tensor:
    """(N, 3, side, side) uint8; grey images get three equal channels.

    Raises:
        UserError: an image that is corrupt or of another size; names its path.
    """
    images = torch.empty(len(files), 3, side, side, dtype=torch.uint8)
    for i, file in enumerate(files):
        pixels = read_rgb(name, file)
        if pixels.shape != images.shape[1:]:
            _, h, w = pixels.shape
            raise UserError(f"{name}: expected images of {side}x{side}, {file} is {w}x{h}; remove or replace it")
        images[i] = pixels
    return images


def read_rgb(name: str, path: Path) -> Tensor:
    """(3, h, w) uint8.

    Raises:
        UserError: no image there, or a corrupt one.
    """
    try:
        image = Image.open(path)
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise UserError(f"{name}: cannot read the image {path} ({error}); repair or remove it") from error
    with image:
        try:
            picture = image.convert("RGB")
        except (OSError, SyntaxError, ValueError) as error:
            raise UserError(f"{name}: the image {path} is corrupt ({error}); repair or remove it") from error
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
