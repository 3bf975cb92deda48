"""Who may see which image, and what happens when the images are not there."""

import gzip
import os
import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.datasets import FashionMNIST

from uapfp_dist.errors import UserError
from uapfp_dist.pipeline.plan import Plan
from uapfp_dist.pipeline.steps import attack_pool
from uapfp_dist.science.data import DATASETS, FEWEST_PER_CLASS, Dataset, Splits, load, make_splits
from uapfp_dist.science.data.splits import index_digest, training_set
from uapfp_dist.specs import DataSpec, Extracted, Trained

OUTSIDE = (0.5, 0.2, 0.3)


def class_sorted(n_train: int | None) -> Dataset:
    """3,000 images of ten classes as a folder holds them: class by class, in the training and in the test part."""
    labels = torch.arange(10).repeat_interleave(300)
    if n_train is not None:
        labels = torch.cat([torch.arange(10).repeat_interleave(n // 10) for n in (n_train, 3000 - n_train)])
    images = torch.arange(3000).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).to(torch.uint8)
    return Dataset("sorted", images.contiguous(), labels, tuple("0123456789"), n_train)


def cut(dataset: Dataset, seed: int = 0) -> Splits:
    """The splits of `dataset` under `seed`."""
    return make_splits(dataset, DataSpec(dataset.name, dataset.digest, seed, 0.8, OUTSIDE))


@pytest.fixture(params=[None, 2400], ids=["no official test set", "official test set"])
def sorted_data(request: pytest.FixtureRequest) -> Dataset:
    """With and without an official test set."""
    return class_sorted(request.param)


def test_splits_share_no_image(sorted_data: Dataset) -> None:
    """D, PROBE, ATTACK and EVAL are disjoint and use up the data."""
    splits = cut(sorted_data)
    parts = {name: set(getattr(splits, name).tolist()) for name in ("d", "probe", "attack", "eval")}
    for one, other in combinations(parts, 2):
        assert not parts[one] & parts[other], (one, other)
    assert set.union(*parts.values()) == set(range(3000))
    assert [len(parts[name]) for name in ("d", "probe", "attack", "eval")] == [2400, 300, 120, 180]


def test_victim_trains_on_half_of_d(sorted_data: Dataset) -> None:
    """D_v: half of D, every image once."""
    splits = cut(sorted_data)
    assert len(splits.d_v.unique()) == len(splits.d_v) == len(splits.d) // 2
    assert bool(torch.isin(splits.d_v, splits.d).all())


def test_official_training_images_stay_training_images() -> None:
    """D is the official training set; everything else comes from the official test set."""
    assert torch.equal(cut(class_sorted(2400)).d, torch.arange(2400))


def test_data_sorted_by_class_give_every_class_in_every_split(sorted_data: Dataset) -> None:
    """In about the proportions of the whole: order on disk carries no meaning."""
    splits = cut(sorted_data)
    homologous = training_set(splits, Trained("homologous_set"), 1)
    for index in (splits.d_v, homologous, splits.probe, splits.attack, splits.eval):
        counts = sorted_data.labels[index].bincount(minlength=10)
        assert int(counts.min()) > 0
        assert int(counts.max()) < 0.3 * len(index)


def test_cuts_follow_from_the_seed(sorted_data: Dataset) -> None:
    """The same digests for the same seed, others for another."""
    assert cut(sorted_data, 1).digests() == cut(sorted_data, 1).digests()
    again, other = cut(sorted_data, 1).digests(), cut(sorted_data, 2).digests()
    assert again["d_v"] != other["d_v"]
    assert again["probe"] != other["probe"]


def test_shares_that_leave_a_part_without_images_are_refused() -> None:
    """They must sum to 1 and give each part an image."""
    dataset = class_sorted(None)
    for shares in ((0.5, 0.2, 0.2), (1.0, 0.0, 0.0)):
        spec = DataSpec(dataset.name, dataset.digest, 0, 0.8, shares)
        with pytest.raises(UserError, match="outside_shares"):
            make_splits(dataset, spec)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 1.0])
def test_chosen_overlap_is_exact(digits_splits: Splits, overlap: float) -> None:
    """As many images of D_homo as asked for lie in D_v; all lie in D, none twice."""
    index = training_set(digits_splits, Trained("homologous_set", overlap), 5)
    shared = int(torch.isin(index, digits_splits.d_v).sum())
    assert shared == round(overlap * len(digits_splits.d_v))
    assert len(index.unique()) == len(index) == len(digits_splits.d_v)
    assert bool(torch.isin(index, digits_splits.d).all())


def test_natural_overlap_is_about_half(digits_splits: Splits) -> None:
    """A uniform draw from D: D_v is half of D, so half of D_homo lies in it."""
    size = len(digits_splits.d_v)
    sets = [training_set(digits_splits, Trained("homologous_set"), seed) for seed in range(20)]
    shares = [float(torch.isin(index, digits_splits.d_v).double().mean()) for index in sets]
    assert all(len(index.unique()) == len(index) == size for index in sets)
    # Hypergeometric: standard deviation of one share .5 / sqrt(2 size) = .013.
    assert max(abs(share - 0.5) for share in shares) < 0.06
    assert sum(shares) / 20 == pytest.approx(0.5, abs=0.015)
    assert len({index_digest(index) for index in sets}) == 20


def test_same_data_models_train_on_exactly_d_v(digits_splits: Splits) -> None:
    """Whatever their seed."""
    assert torch.equal(training_set(digits_splits, Trained("victim_set"), 9), digits_splits.d_v)


def test_attackers_never_send_images_that_their_victim_was_trained_on(digits_plan: Plan, digits_splits: Splits) -> None:
    """Neither those of our victim nor those of the other victims, whose training sets are others."""
    victims = set()
    for member in digits_plan.members:
        origin = member.spec.origin
        if isinstance(origin, Extracted):
            assert isinstance(origin.victim.origin, Trained)
            pool = attack_pool(digits_splits, origin)
            trained_on = training_set(digits_splits, origin.victim.origin, origin.victim.seed)
            assert not bool(torch.isin(pool, trained_on).any())
            assert bool(torch.isin(pool, digits_splits.d).all())
            assert len(pool) + len(trained_on) == len(digits_splits.d)
            victims.add(index_digest(trained_on))
    assert len(victims) == 3


def test_loot_cannot_be_looted(digits_plan: Plan, digits_splits: Splits) -> None:
    """The training set of an extracted model is the victim's answers: there is no pool outside of it."""
    pirate = next(m.spec for m in digits_plan.members if m.role == "piracy")
    assert isinstance(pirate.origin, Extracted)
    with pytest.raises(UserError, match="extracted model"):
        attack_pool(digits_splits, replace(pirate.origin, victim=pirate))


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


def test_unknown_data_set_lists_the_known_ones() -> None:
    """Whoever mistypes sees what there is."""
    with pytest.raises(UserError, match=r"mnist.*digits, fashion_mnist, imagefolder"):
        load("mnist", None)
    assert sorted(DATASETS) == ["digits", "fashion_mnist", "imagefolder"]


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
    with pytest.raises(UserError, match="--data-root"):
        load("imagefolder", None)
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


FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No download: the mirrors refuse the connection."""
    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])


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


@pytest.mark.usefixtures("offline")
def test_fashion_mnist_missing_is_told_in_one_line(tmp_path: Path) -> None:
    """Where the files should be, and how to get them there."""
    with pytest.raises(UserError, match="--data-root"):
        load("fashion_mnist", None)
    with pytest.raises(UserError, match=r"FashionMNIST.raw.*download") as caught:
        load("fashion_mnist", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("offline")
def test_fashion_mnist_torn_is_told_in_one_line(tmp_path: Path) -> None:
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


@pytest.mark.skipif(not os.environ.get("UAPFP_DATA"), reason="needs Fashion-MNIST in the folder $UAPFP_DATA")
def test_fashion_mnist_is_the_published_one() -> None:
    """60,000 + 10,000 images, balanced classes; mean and deviation of the training pixels as everybody knows them."""
    dataset = load("fashion_mnist", Path(os.environ["UAPFP_DATA"]))
    assert dataset.shape == (1, 28, 28)
    assert dataset.n_train == 60_000
    assert dataset.labels[:60_000].bincount().tolist() == [6000] * 10
    assert dataset.labels[60_000:].bincount().tolist() == [1000] * 10
    assert dataset.class_names[9] == "Ankle boot"
    pixels = dataset.images[:60_000].double() / 255
    assert float(pixels.mean()) == pytest.approx(0.2860, abs=1e-4)
    assert float(pixels.std()) == pytest.approx(0.3530, abs=1e-4)
    splits = make_splits(dataset, DataSpec("fashion_mnist", dataset.digest, 0, 0.5, OUTSIDE))
    sizes = [len(part) for part in (splits.d, splits.d_v, splits.probe, splits.attack, splits.eval)]
    assert sizes == [60_000, 30_000, 5_000, 2_000, 3_000]
