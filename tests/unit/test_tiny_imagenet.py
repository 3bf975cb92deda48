"""TinyImageNet: read as it is published, half of it with a note, or one line says what is missing."""

import os
import shutil
from pathlib import Path

import pytest
from image_sets import (
    real,
    without_data_root,
    write_tiny,
)

from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.config.schema import DataConfig
from uapfp_dist.data import load
from uapfp_dist.errors import UserError
from uapfp_dist.launch.images import load_images

pytestmark = pytest.mark.usefixtures("own_cache")


def test_tiny_imagenet_reads_the_official_layout(tmp_path: Path) -> None:
    """Classes by wnid, named by their first word; validation images are the official test images; grey becomes RGB."""
    write_tiny(tmp_path)
    dataset = load("tiny_imagenet", tmp_path)
    assert dataset.class_names == ("bullfrog", "academic gown", "goldfish")
    assert (dataset.shape, dataset.n_train) == ((3, 64, 64), 36)
    assert dataset.labels[:36].tolist() == [0] * 12 + [1] * 12 + [2] * 12
    assert dataset.labels[36:].tolist() == [0] * 10 + [1] * 11 + [2] * 10
    for label, green in ((0, 60), (1, 120), (2, 0)):
        assert abs(int(dataset.images[12 * label, 1, 5, 5]) - green) <= 3
    assert dataset.images[46].unique().tolist() == [99]
    red = dataset.images[36:46, 0, 5, 5].tolist()
    assert max(abs(value - (50 + 2 + 3 * i)) for i, value in enumerate(red)) <= 3
    assert dataset.note == (
        "36 of 1500 training images of TinyImageNet (12 to 12 a class); 31 of 150 validation images; "
        "3 of TinyImageNet's 200 classes"
    )


def test_tiny_imagenet_says_when_it_is_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """250 of 500 images a class are what is handed around, or 100 of 200 classes; the whole needs no note."""
    monkeypatch.setattr("uapfp_dist.data.tiny_imagenet.N_CLASSES", 3)
    monkeypatch.setattr("uapfp_dist.data.tiny_imagenet.VALIDATION_PER_CLASS", 10)
    monkeypatch.setattr("uapfp_dist.data.tiny_imagenet.PER_CLASS", 24)
    folder = write_tiny(tmp_path)
    assert load("tiny_imagenet", tmp_path).note == "half of TinyImageNet's training set (12 images a class)"
    part = load("tiny_imagenet", tmp_path, 2)
    assert part.note == "half of TinyImageNet's training set (12 images a class); the first 2 of 3 classes"
    assert part.class_names == ("bullfrog", "academic gown")
    monkeypatch.setattr("uapfp_dist.data.tiny_imagenet.PER_CLASS", 12)
    assert load("tiny_imagenet", tmp_path).note == ""
    (folder / "train" / "n01" / "images" / "0000.JPEG").unlink()
    assert load("tiny_imagenet", tmp_path).note.endswith("(11 to 12 a class)")


def test_tiny_imagenet_of_half_of_the_classes_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of the classes that are there is enough; validation images are counted for them alone."""
    for name, value in {"N_CLASSES": 6, "PER_CLASS": 12, "VALIDATION_PER_CLASS": 10}.items():
        monkeypatch.setattr(f"uapfp_dist.data.tiny_imagenet.{name}", value)
    folder = write_tiny(tmp_path)
    assert load("tiny_imagenet", tmp_path).note == "3 of TinyImageNet's 6 classes"
    (folder / "wnids.txt").write_text("n03\nn02\n")
    shutil.rmtree(folder / "train" / "n01")
    assert load("tiny_imagenet", tmp_path).note == "2 of TinyImageNet's 6 classes"
    annotations = folder / "val" / "val_annotations.txt"
    annotations.write_text("".join(annotations.read_text().splitlines(True)[:-2]))
    monkeypatch.setattr("uapfp_dist.data.tiny_imagenet.VALIDATION_PER_CLASS", 11)
    assert load("tiny_imagenet", tmp_path).note == "20 of 22 validation images; 2 of TinyImageNet's 6 classes"
    (folder / "wnids.txt").write_text("")
    with pytest.raises(UserError, match=r"at least 2 classes, .*wnids.txt has 0"):
        load("tiny_imagenet", tmp_path)


def test_what_is_missing_is_said_before_anything_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The note of the report, and nothing where nothing is missing."""
    write_tiny(tmp_path)
    for name in ("tiny_imagenet", "digits"):
        load_images(DataConfig(name), resolve(RuntimeConfig(data_root=tmp_path)))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("tiny_imagenet: 36 of 1500 training images")


@pytest.mark.parametrize("part", ["wnids.txt", "words.txt", "train", "val/val_annotations.txt", "val/images", ""])
def test_tiny_imagenet_missing_is_reported_in_one_line(part: str, tmp_path: Path) -> None:
    """Which part, in which folder, and the two ways to get it."""
    missing = write_tiny(tmp_path) / part
    shutil.rmtree(missing) if missing.is_dir() else missing.unlink()
    with pytest.raises(UserError, match=rf"{part or 'wnids.txt'}; unpack .* or give the folder") as caught:
        load("tiny_imagenet", tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    without_data_root("tiny_imagenet")


def test_tiny_imagenet_names_what_is_incomplete(tmp_path: Path) -> None:
    """A class without training or validation images, an annotated image that is not there, a line that is none."""
    folder = write_tiny(tmp_path)
    annotations, lost = folder / "val" / "val_annotations.txt", folder / "val" / "images" / "0004.JPEG"
    whole = annotations.read_text()
    lost.rename(tmp_path / "lost")
    with pytest.raises(UserError, match=r"0004\.JPEG"):
        load("tiny_imagenet", tmp_path)
    (tmp_path / "lost").rename(lost)
    annotations.write_text("".join(line for line in whole.splitlines(True) if "n01" not in line))
    with pytest.raises(UserError, match=r"val_annotations.txt has none of n01"):
        load("tiny_imagenet", tmp_path)
    annotations.write_text(whole + "0030.JPEG\n")
    with pytest.raises(UserError, match=r"val_annotations.txt.*'0030.JPEG'"):
        load("tiny_imagenet", tmp_path)
    annotations.write_text(whole)
    shutil.rmtree(folder / "train" / "n02")
    with pytest.raises(UserError, match=r"n02.images is missing"):
        load("tiny_imagenet", tmp_path)


@real("tiny-imagenet-200")
def test_tiny_imagenet_is_the_published_one() -> None:
    """Twenty classes of the half that is handed around, or of the whole; some of its images are grey."""
    dataset = load("tiny_imagenet", Path(os.environ["UAPFP_DATA"]), 20)
    assert dataset.shape == (3, 64, 64)
    assert dataset.class_names[:3] == ("goldfish", "European fire salamander", "bullfrog")
    per_class = dataset.labels[: dataset.n_train].bincount().tolist()
    assert per_class in ([250] * 20, [500] * 20)
    assert dataset.labels[dataset.n_train :].bincount().tolist() == [50] * 20
    assert ("half of TinyImageNet" in dataset.note) == (per_class[0] == 250)
    grey = (dataset.images[:, 0] == dataset.images[:, 1]).flatten(1).all(1)
    assert 0 < int(grey.sum()) < len(grey) // 10
