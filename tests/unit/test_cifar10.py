"""CIFAR-10: read from batches or a folder of JPEGs, or one line says what is missing."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest
import torch
from image_sets import (
    real,
    without_data_root,
    write_batches,
    write_cifar,
)
from PIL import Image
from torchvision.datasets import CIFAR10

from uapfp_dist.data import cifar10 as cifar
from uapfp_dist.data import load
from uapfp_dist.errors import UserError

pytestmark = pytest.mark.usefixtures("own_cache")


def test_cifar10_is_the_same_from_batches_and_from_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixel by pixel where nothing was compressed; the batches go first; a folder has a note."""
    write_cifar(tmp_path, ".png")
    folder = load("cifar10", tmp_path)
    write_batches(tmp_path, monkeypatch)
    batches = load("cifar10", tmp_path)
    assert folder.digest == batches.digest
    assert (folder.shape, folder.n_train, folder.class_names) == ((3, 32, 32), 120, cifar.CLASSES)
    assert folder.images[25, :, 21, 9].tolist() == [51, 40, 7]
    assert folder.images[25, :, 9, 21].tolist() == [51, 40, 0]
    assert batches.note == ""
    assert folder.note == "JPEG copies of CIFAR-10; 120 + 100 of 50000 + 10000 images"
    parts = [load("cifar10", tmp_path, 3)]
    shutil.rmtree(tmp_path / CIFAR10.base_folder)
    parts.append(load("cifar10", tmp_path, 3))
    assert parts[0].digest == parts[1].digest
    assert parts[1].note.endswith("36 + 30 of 15000 + 3000 images; the first 3 of 10 classes")


def test_cifar10_decodes_jpegs(tmp_path: Path) -> None:
    """Nearly the colours that were written."""
    write_cifar(tmp_path)
    dataset = load("cifar10", tmp_path)
    assert dataset.labels[120:].tolist() == [c for c in range(10) for _ in range(10)]
    assert (dataset.images[-10, :, 28, 3].long() - torch.tensor([50, 180, 7])).abs().max() <= 3


@pytest.mark.usefixtures("offline")
def test_cifar10_missing_is_reported_in_one_line(tmp_path: Path) -> None:
    """Where it was looked for and the two ways to get it; a mistyped path does not become a folder."""
    without_data_root("cifar10")
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=r"cifar-10-batches-py.*download.*cifar10/\{train,test\}") as caught:
            load("cifar10", root)
        assert "\n" not in str(caught.value)
        assert str(root) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("offline")
def test_cifar10_torn_batches_are_reported_in_one_line(tmp_path: Path) -> None:
    """They do not fall back to a folder of JPEGs in silence."""
    write_cifar(tmp_path)
    (tmp_path / CIFAR10.base_folder).mkdir()
    (tmp_path / CIFAR10.base_folder / "data_batch_1").write_bytes(b"torn")
    with pytest.raises(UserError, match="cifar-10-batches-py") as caught:
        load("cifar10", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("offline")
def test_cifar10_names_the_batch_that_is_missing_or_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is downloaded anew, or where it cannot be."""
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    named = {"data_batch_1": b"one", "data_batch_2": b"two", "test_batch": b"test", "batches.meta": b"meta"}
    for name, content in named.items():
        (folder / name).write_bytes(content)
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in named.items()}
    monkeypatch.setattr(CIFAR10, "train_list", [[name, md5[name]] for name in ("data_batch_1", "data_batch_2")])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5["batches.meta"]})
    (folder / "data_batch_2").unlink()
    with pytest.raises(UserError, match=r"found data_batch_2 missing, could not"):
        load("cifar10", tmp_path)
    (folder / "test_batch").write_bytes(b"tes")
    (folder / "batches.meta").unlink()
    with pytest.raises(UserError, match=r"found data_batch_2 and batches.meta missing, test_batch damaged, could not"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize("part", ["train", "test"])
def test_cifar10_names_the_class_that_is_missing_or_empty(part: str, tmp_path: Path) -> None:
    """In either part; but not when it was not requested."""
    deer = write_cifar(tmp_path) / part / "deer"
    for path in deer.iterdir():
        path.unlink()
    with pytest.raises(UserError, match=f"{part}.deer holds none"):
        load("cifar10", tmp_path)
    deer.rmdir()
    with pytest.raises(UserError, match=f"{part}.deer is missing"):
        load("cifar10", tmp_path)
    shutil.rmtree(deer.with_name("ship"))
    with pytest.raises(UserError, match=r"deer is missing \(2 of 10 classes have none\)"):
        load("cifar10", tmp_path)
    assert load("cifar10", tmp_path, 4).n_classes == 4


def test_cifar10_names_the_image_that_is_torn_or_of_another_size(tmp_path: Path) -> None:
    """Nothing is skipped, nothing is resampled."""
    odd = write_cifar(tmp_path) / "test" / "ship" / "0003.jpg"
    Image.effect_noise((33, 32), 90).save(odd)
    with pytest.raises(UserError, match=r"32x32, .*ship.0003\.jpg is 33x32"):
        load("cifar10", tmp_path)
    odd.write_bytes(odd.read_bytes()[:700])
    with pytest.raises(UserError, match=r"ship.0003\.jpg is corrupt"):
        load("cifar10", tmp_path)
    odd.write_text("not an image")
    with pytest.raises(UserError, match=r"cannot read.*ship.0003\.jpg"):
        load("cifar10", tmp_path)


@real("cifar10")
def test_cifar10_is_the_published_one() -> None:
    """Its first two classes, as JPEGs: counts, and the mean of the pixels within what compression does."""
    dataset = load("cifar10", Path(os.environ["UAPFP_DATA"]), 2)
    assert (dataset.shape, dataset.n_train) == ((3, 32, 32), 10_000)
    assert dataset.labels[:10_000].bincount().tolist() == [5000, 5000]
    assert dataset.labels[10_000:].bincount().tolist() == [1000, 1000]
    assert dataset.note == "JPEG copies of CIFAR-10; the first 2 of 10 classes"
    mean = dataset.images[:5000].double().mean((0, 2, 3)) / 255  # airplanes: against the sky
    assert mean.tolist() == pytest.approx([0.5256, 0.5603, 0.5889], abs=2e-3)
