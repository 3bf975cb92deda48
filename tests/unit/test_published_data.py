"""Fashion-MNIST, CIFAR-10 and TinyImageNet: read as they are published, or one line says what is missing."""

import gzip
import hashlib
import os
import shutil
from pathlib import Path

import pytest
import torch
from image_sets import (
    FILES,
    idx,
    without_data_root,
    write_batches,
    write_cifar,
    write_fashion,
    write_tiny,
)
from PIL import Image
from torchvision.datasets import CIFAR10, FashionMNIST

from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.config.schema import DataConfig
from uapfp_dist.data import cifar10 as cifar
from uapfp_dist.data import load, make_splits
from uapfp_dist.errors import UserError
from uapfp_dist.launch.images import load_images
from uapfp_dist.tasks.specs import DataSpec

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No download: the mirrors refuse the connection."""
    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")


@pytest.mark.usefixtures("offline")
def test_fashion_mnist_missing_is_reported_in_one_line(tmp_path: Path) -> None:
    """Where the files should be, and how to get them there."""
    without_data_root("fashion_mnist")
    with pytest.raises(UserError, match=r"FashionMNIST.raw.*download") as caught:
        load("fashion_mnist", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("offline")
def test_fashion_mnist_torn_is_reported_in_one_line(tmp_path: Path) -> None:
    """Archives cut short, IDX files cut short, files of the wrong number of images."""
    raw = tmp_path / "archives" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES:
        (raw / f"{name}.gz").write_bytes(gzip.compress(idx((10, 28, 28)))[:-20])
    write_fashion(tmp_path / "few", 100, 50)
    for torn in FILES[0], FILES[3]:
        whole = write_fashion(tmp_path / torn)
        (whole / torn).write_bytes((whole / torn).read_bytes()[:1000])
    for case in ("archives", "few", FILES[0], FILES[3]):
        with pytest.raises(UserError, match=r"FashionMNIST.raw") as caught:
            load("fashion_mnist", tmp_path / case)
        assert "\n" not in str(caught.value)
    shutil.rmtree(tmp_path)  # a hundred megabytes of zeros


@pytest.mark.usefixtures("offline")
def test_a_file_of_somebody_elses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be read, neither for its images nor to find out whether it is whole."""
    raw = write_fashion(tmp_path, 20, 10)
    (raw / FILES[0]).write_bytes(b"")
    read = Path.open

    def refused(path: Path, *args: object, **kwargs: object) -> object:
        if path.name == FILES[0]:
            raise PermissionError(13, "Permission denied")
        return read(path, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(UserError, match=rf"found {FILES[0]} unreadable, could not"):
        load("fashion_mnist", tmp_path)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", FILES)
def test_fashion_mnist_names_the_file_that_is_missing_or_damaged(name: str, tmp_path: Path) -> None:
    """One of four; the others are whole."""
    raw = write_fashion(tmp_path, 20, 10)
    (raw / name).write_bytes((raw / name).read_bytes()[:-1])
    with pytest.raises(UserError, match=rf"found {name} damaged, could not") as caught:
        load("fashion_mnist", tmp_path)
    (raw / name).unlink()
    with pytest.raises(UserError, match=rf"found {name} missing, could not") as caught:
        load("fashion_mnist", tmp_path)
    assert "\n" not in str(caught.value)
    assert caught.value.argument == "data_root"


@pytest.mark.skipif(not os.environ.get("UAPFP_DATA"), reason="needs Fashion-MNIST in the folder $UAPFP_DATA")
def test_fashion_mnist_is_the_published_one() -> None:
    """60,000 + 10,000 images, balanced classes; mean and deviation of the training pixels as everybody knows them."""
    dataset = load("fashion_mnist", Path(os.environ["UAPFP_DATA"]))
    assert dataset.digest == "61a821a8e36ec0bc"
    assert dataset.shape == (1, 28, 28)
    assert dataset.n_train == 60_000
    assert dataset.labels[:60_000].bincount().tolist() == [6000] * 10
    assert dataset.labels[60_000:].bincount().tolist() == [1000] * 10
    assert dataset.class_names[9] == "Ankle boot"
    pixels = dataset.images[:60_000].double() / 255
    assert float(pixels.mean()) == pytest.approx(0.2860, abs=1e-4)
    assert float(pixels.std()) == pytest.approx(0.3530, abs=1e-4)
    splits = make_splits(dataset, DataSpec("fashion_mnist", dataset.digest, 0, 0.5, (0.5, 0.2, 0.3)))
    sizes = [len(part) for part in (splits.d, splits.d_v, splits.probe, splits.attack, splits.eval)]
    assert sizes == [60_000, 30_000, 5_000, 2_000, 3_000]


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


def real(folder: str) -> pytest.MarkDecorator:
    """For tests on real images."""
    root = os.environ.get("UAPFP_DATA")
    absent = not root or not (Path(root) / folder).is_dir()
    return pytest.mark.skipif(absent, reason=f"needs {folder} in the folder $UAPFP_DATA")


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
