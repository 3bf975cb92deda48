"""Small image sets on disk, in the layouts that are read."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from uapfp_dist.data import Dataset, load
from uapfp_dist.data import cifar10 as cifar
from uapfp_dist.data.registry import FEWEST_PER_CLASS
from uapfp_dist.errors import UserError


def write_folder(
    root: Path, classes: tuple[str, ...] = ("cat", "dog"), n: int = FEWEST_PER_CLASS, mode: str = "RGB"
) -> Path:
    """A folder of `n` images of 6x5 per class, class and number as colour."""
    for c, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(n):
            colour = (40 * c, i, 200) if mode == "RGB" else 40 * c + i
            Image.new(mode, (6, 5), colour).save(root / name / f"{i:02}.png")
    return root


FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx(shape: tuple[int, ...]) -> bytes:
    """An IDX file of zeros."""
    count = 1
    for size in shape:
        count *= size
    return bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape) + bytes(count)


def write_fashion(root: Path, n_train: int = 60_000, n_test: int = 10_000) -> Path:
    """Black images and labels 0 in torchvision's layout."""
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    shapes = [(n_train, 28, 28), (n_train,), (n_test, 28, 28), (n_test,)]
    for name, shape in zip(FILES, shapes, strict=True):
        (raw / name).write_bytes(idx(shape))
    return raw


def write_jpegs(folder: Path, n: int, side: int, colour: tuple[int, int, int], suffix: str = ".jpg") -> None:
    """`n` images of one colour, the number of the image added to its red; no blue in the first 20 rows."""
    folder.mkdir(parents=True)
    for i in range(n):
        image = Image.new("RGB", (side, side), (colour[0] + i, colour[1], 0))
        image.paste((colour[0] + i, *colour[1:]), (0, 20, side, side))
        image.save(folder / f"{i:04}{suffix}", quality=95)


def write_cifar(root: Path, suffix: str = ".jpg") -> Path:
    """CIFAR-10 as a folder: 12 + 10 images of each class, green in steps of 20 by class."""
    for part, n in (("train", 12), ("test", 10)):
        for c, name in enumerate(cifar.CLASSES):
            write_jpegs(root / "cifar10" / part / name, n, 32, (50, 20 * c, 7), suffix)
    return root / "cifar10"


def write_batches(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same images as `write_cifar` in the format of the official batches, whose checksums are not verified."""
    monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", None]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", None]])
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": None})
    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    for file, n in (("data_batch_1", 12), ("test_batch", 10)):
        pixels = np.zeros((10, n, 3, 32, 32), np.uint8)
        pixels[:, :, 0] = 50 + np.arange(n)[None, :, None, None]
        pixels[:, :, 1] = 20 * np.arange(10)[:, None, None, None]
        pixels[:, :, 2, 20:] = 7
        batch = {"data": pixels.reshape(10 * n, 3072), "labels": np.repeat(np.arange(10), n).tolist()}
        (folder / file).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(cifar.CLASSES)}))


WORDS = {"n03": "goldfish, Carassius auratus", "n01": "bullfrog, Rana", "n02": "academic gown, robe", "n99": "entity"}


def write_tiny(root: Path, n: int = 12) -> Path:
    """TinyImageNet of three classes: `n` training images each, validation images in turn, the first one grey."""
    folder = root / "tiny-imagenet-200"
    for c, wnid in enumerate(("n03", "n01", "n02")):
        write_jpegs(folder / "train" / wnid / "images", n, 64, (50, 60 * c, 7), ".JPEG")
    write_jpegs(folder / "val" / "images", 31, 64, (50, 200, 7), ".JPEG")
    Image.new("L", (64, 64), 99).save(folder / "val" / "images" / "0000.JPEG")
    (folder / "wnids.txt").write_text("n03\nn01\nn02\n")
    (folder / "words.txt").write_text("".join(f"{wnid}\t{word}\n" for wnid, word in WORDS.items()))
    lines = [f"{i:04}.JPEG\t{('n02', 'n03', 'n01')[i % 3]}\t0\t0\t62\t62\n" for i in range(31)]
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    return folder


def class_sorted(n_train: int | None) -> Dataset:
    """3,000 images of ten classes as a folder holds them: class by class, in the training and in the test part."""
    labels = torch.arange(10).repeat_interleave(300)
    if n_train is not None:
        labels = torch.cat([torch.arange(10).repeat_interleave(n // 10) for n in (n_train, 3000 - n_train)])
    images = torch.arange(3000).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).to(torch.uint8)
    return Dataset("sorted", images.contiguous(), labels, tuple("0123456789"), n_train)


def without_data_root(name: str) -> None:
    """An error names the argument; the command line makes an option of it."""
    with pytest.raises(UserError, match=rf"^{name}: expected .*$") as caught:
        load(name, None)
    assert caught.value.argument == "data_root"
    assert "--" not in str(caught.value)


def real(folder: str) -> pytest.MarkDecorator:
    """For tests on real images."""
    root = os.environ.get("UAPFP_DATA")
    absent = not root or not (Path(root) / folder).is_dir()
    return pytest.mark.skipif(absent, reason=f"needs {folder} in the folder $UAPFP_DATA")
