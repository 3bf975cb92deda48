"""Data sets by name: pixels, digests, first classes, folders of images."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from image_sets import class_sorted, without_data_root, write_folder
from PIL import Image

from uapfp_dist.data import DATASETS, Dataset, load
from uapfp_dist.errors import UserError

pytestmark = pytest.mark.usefixtures("own_cache")


def test_pixels_are_in_the_unit_interval(digits: Dataset) -> None:
    """8 bits to [0, 1], labels beside them."""
    pixels = digits.pixels(torch.arange(len(digits.labels)))
    assert pixels.shape == (1797, 1, 8, 8)
    assert (float(pixels.min()), float(pixels.max())) == (0.0, 1.0)
    assert digits.labels.unique().tolist() == list(range(10))


def test_digest_sees_every_pixel_and_label(digits: Dataset) -> None:
    """Other data can never be mistaken for these."""
    images, labels = digits.images.clone(), digits.labels.clone()
    images[-1, 0, 7, 7] += 1
    labels[-1] = (labels[-1] + 1) % 10
    variants = [replace(digits, images=images), replace(digits, labels=labels), replace(digits, n_train=10)]
    assert len({digits.digest, *(variant.digest for variant in variants)}) == 4


def test_digest_of_digits_is_that_of_stored_results(digits: Dataset) -> None:
    """It is part of every address: another one would orphan what was computed before. A note is no content."""
    assert digits.digest == "7023e2e8064506cc"
    assert replace(digits, note="a note").digest == digits.digest


def test_first_classes_of_a_data_set(digits: Dataset) -> None:
    """The images of labels 0 to n - 1, in their order, and a note; all of them is the data set itself."""
    part = load("digits", None, 3)
    keep = digits.labels < 3
    assert part.class_names == ("0", "1", "2")
    assert torch.equal(part.images, digits.images[keep])
    assert torch.equal(part.labels, digits.labels[keep])
    assert part.note == "the first 3 of 10 classes"
    assert part.digest != digits.digest
    assert load("digits", None, 10).digest == digits.digest
    assert load("digits", None, 10).note == ""


def test_first_classes_keep_the_official_split() -> None:
    """Training images stay in front, counted anew."""
    part = class_sorted(2400).first(4)
    assert part.n_train == 960
    assert part.labels.bincount().tolist() == [300] * 4


@pytest.mark.parametrize("n_classes", [-1, 0, 1, 11])
@pytest.mark.parametrize("name", ["digits", "cifar10"])
def test_number_of_classes_out_of_range(name: str, n_classes: int, tmp_path: Path) -> None:
    """One class is no classification, eleven there are not."""
    (tmp_path / "cifar10").mkdir()
    with pytest.raises(UserError, match=f"n_classes: expected 2 to 10 .* of {name}, got {n_classes}"):
        load(name, tmp_path, n_classes)


def test_unknown_data_set_lists_the_known_ones() -> None:
    """Whoever mistypes sees what there is."""
    with pytest.raises(UserError, match=r"mnist.*cifar10, digits, fashion_mnist, imagefolder, tiny_imagenet"):
        load("mnist", None)
    assert sorted(DATASETS) == ["cifar10", "digits", "fashion_mnist", "imagefolder", "tiny_imagenet"]


def test_imagefolder_reads_what_was_written(tmp_path: Path) -> None:
    """Pixel by pixel, class by class; no official test set."""
    dataset = load("imagefolder", write_folder(tmp_path))
    assert dataset.shape == (3, 5, 6)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.labels.tolist() == [0] * 10 + [1] * 10
    assert dataset.n_train is None
    assert dataset.images[13, :, 2, 3].tolist() == [40, 3, 200]


def test_imagefolder_keeps_grey_images_grey(tmp_path: Path) -> None:
    """One channel where all are grey; three as soon as one is not."""
    write_folder(tmp_path, mode="L")
    grey = load("imagefolder", tmp_path)
    assert grey.shape == (1, 5, 6)
    assert int(grey.images[11, 0, 0, 0]) == 41
    Image.new("RGB", (6, 5), (1, 2, 3)).save(tmp_path / "dog" / "99.png")
    assert load("imagefolder", tmp_path).shape == (3, 5, 6)


def test_imagefolder_honours_train_and_test(tmp_path: Path) -> None:
    """The folder's own split is the official one."""
    write_folder(tmp_path / "train", n=12)
    write_folder(tmp_path / "test", n=4)
    dataset = load("imagefolder", tmp_path)
    assert dataset.n_train == 24
    assert len(dataset.labels) == 32


def test_imagefolder_reads_only_the_classes_asked_for(tmp_path: Path) -> None:
    """In the order of their names; what is torn in the others does not matter."""
    write_folder(tmp_path, ("cat", "dog", "emu"))
    (tmp_path / "emu" / "00.png").write_text("not an image")
    assert load("imagefolder", tmp_path, 2).class_names == ("cat", "dog")


def test_imagefolder_names_the_torn_image(tmp_path: Path) -> None:
    """Cut short, or no image at all: the line names the file."""
    torn = write_folder(tmp_path) / "dog" / "07.png"
    Image.effect_noise((60, 50), 90).save(torn)
    torn.write_bytes(torn.read_bytes()[:900])
    with pytest.raises(UserError, match=r"dog.07\.png"):
        load("imagefolder", tmp_path)
    torn.write_text("not an image")
    with pytest.raises(UserError, match=r"dog.07\.png"):
        load("imagefolder", tmp_path)


def test_imagefolder_names_the_folder_that_is_missing_or_empty(tmp_path: Path) -> None:
    """No root, no such folder, no classes, a class without images."""
    without_data_root("imagefolder")
    with pytest.raises(UserError, match="nowhere"):
        load("imagefolder", tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="empty"):
        load("imagefolder", empty)
    hollow = write_folder(tmp_path / "hollow")
    (hollow / "emu").mkdir()
    with pytest.raises(UserError, match="emu"):
        load("imagefolder", hollow)


def test_class_with_too_few_images_is_named(tmp_path: Path) -> None:
    """It could not stand in every split."""
    write_folder(tmp_path)
    (tmp_path / "dog" / "00.png").unlink()
    with pytest.raises(UserError, match=r"'dog' has 9"):
        load("imagefolder", tmp_path)


def test_imagefolder_wants_the_same_classes_in_train_and_test(tmp_path: Path) -> None:
    """Else labels of the two parts would mean different things."""
    write_folder(tmp_path / "train", ("cat", "dog"))
    write_folder(tmp_path / "test", ("cat", "emu"))
    with pytest.raises(UserError, match=r"dog, emu"):
        load("imagefolder", tmp_path)
