"""Fashion-MNIST: read as it is published, or one line says what is missing."""

import gzip
import os
import shutil
from pathlib import Path

import pytest
from image_sets import (
    FILES,
    idx,
    without_data_root,
    write_fashion,
)

from uapfp_dist.data import load, make_splits
from uapfp_dist.errors import UserError
from uapfp_dist.tasks.specs import DataSpec

pytestmark = pytest.mark.usefixtures("own_cache")


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
