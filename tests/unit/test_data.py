"""Who may see which image, and what happens when the images are not there."""

import gzip
import os
import pickle
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets import CIFAR10, FashionMNIST

from uapfp_dist.data import DATASETS, Dataset, Splits, cache, load, make_splits
from uapfp_dist.data import cifar10 as cifar
from uapfp_dist.data.registry import FEWEST_PER_CLASS
from uapfp_dist.data.splits import attack_pool, index_digest, outside_of, training_set
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.response_format import LABEL
from uapfp_dist.tasks.modification_specs import Prune
from uapfp_dist.tasks.specs import DataSpec, Extracted, ModelSpec, Modified, Trained

OUTSIDE = (0.5, 0.2, 0.3)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or leaves anything in the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("UAPFP_CACHE", str(folder))
    return folder


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
    """As many images of D_homo as requested lie in D_v; all lie in D, none twice."""
    index = training_set(digits_splits, Trained("homologous_set", overlap), 5)
    shared = int(torch.isin(index, digits_splits.d_v).sum())
    assert shared == round(overlap * len(digits_splits.d_v))
    assert len(index.unique()) == len(index) == len(digits_splits.d_v)
    assert bool(torch.isin(index, digits_splits.d).all())


def test_natural_overlap_is_about_half(digits_splits: Splits) -> None:
    """A uniform sample of D: D_v is half of D, so half of D_homo lies in it."""
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


def stolen_from(victim: ModelSpec) -> ModelSpec:
    """A model extracted from it by knockoff."""
    origin = Extracted(victim, "knockoff", LABEL, 100, 0, 1.0)
    return replace(victim, architecture="C", origin=origin, gate=None)


@pytest.mark.parametrize("role", ["victim", "other_victim"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_thief_of_a_thief_sends_what_the_root_victim_was_not_trained_on(
    depth: int, role: str, digits_plan: Plan, digits_splits: Splits
) -> None:
    """However many thefts lie between: the same images as the first thief's, with an overlap too."""
    root = next(m.spec for m in digits_plan.members if m.role == role)
    assert isinstance(root.origin, Trained)
    direct, last = stolen_from(root), root
    for _ in range(depth):
        last = stolen_from(last)
    assert isinstance(direct.origin, Extracted)
    assert isinstance(last.origin, Extracted)
    own = training_set(digits_splits, root.origin, root.seed)
    assert torch.equal(attack_pool(digits_splits, last.origin), outside_of(digits_splits.d, own))
    pools = [attack_pool(digits_splits, replace(origin, overlap=0.25), 3) for origin in (direct.origin, last.origin)]
    assert torch.equal(*pools)


def test_modified_models_are_no_victims(digits_plan: Plan, digits_splits: Splits) -> None:
    """At any depth: what they were trained on is the attacker's own data, too."""
    victim = next(m.spec for m in digits_plan.members if m.role == "victim")
    modified = replace(victim, origin=Modified(victim, Prune(0.5)))
    for last in (stolen_from(modified), stolen_from(stolen_from(modified))):
        assert isinstance(last.origin, Extracted)
        with pytest.raises(UserError, match=r"^extraction: expected a victim trained .* got a modified one$"):
            attack_pool(digits_splits, last.origin)


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


def without_data_root(name: str) -> None:
    """An error names the argument; the command line makes an option of it."""
    with pytest.raises(UserError, match=rf"^{name}: expected .*$") as caught:
        load(name, None)
    assert caught.value.argument == "data_root"
    assert "--" not in str(caught.value)


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
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")


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
    splits = make_splits(dataset, DataSpec("fashion_mnist", dataset.digest, 0, 0.5, OUTSIDE))
    sizes = [len(part) for part in (splits.d, splits.d_v, splits.probe, splits.attack, splits.eval)]
    assert sizes == [60_000, 30_000, 5_000, 2_000, 3_000]


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
    assert dataset.note == "36 of 1500 training images of TinyImageNet (12 to 12 a class)"


def test_tiny_imagenet_says_when_it_is_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """250 of 500 images a class are what is handed around; the whole needs no note."""
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


def files_of(folder: Path, n: int = 3) -> list[Path]:
    """Some files to decode."""
    folder.mkdir(exist_ok=True)
    for i in range(n):
        (folder / f"{i}.jpg").write_text(f"image {i}")
    return sorted(folder.glob("*.jpg"))


class Decoder:
    """Counts its calls."""

    def __init__(self, files: list[Path], seconds: float = 0.0) -> None:
        self.files, self.seconds, self.calls = files, seconds, 0

    def __call__(self) -> Tensor:
        self.calls += 1
        time.sleep(self.seconds)
        sizes = [len(file.read_text()) for file in self.files]
        return torch.tensor(sizes, dtype=torch.uint8).view(-1, 1, 1, 1).repeat(1, 3, 2, 2)


@pytest.fixture
def cached(monkeypatch: pytest.MonkeyPatch) -> Callable[[Decoder], Tensor]:
    """`cache.decoded` for few files."""
    monkeypatch.setattr(cache, "MIN_FILES", 1)
    return lambda decoder: cache.decoded("name", decoder.files, decoder)


def test_images_are_decoded_once(cached: Callable[[Decoder], Tensor], own_cache: Path, tmp_path: Path) -> None:
    """Whoever comes later maps the same file, reads the same pixels, and cannot change them for others."""
    decoder = Decoder(files_of(tmp_path))
    first = cached(decoder)
    second = cached(decoder)
    assert decoder.calls == 1
    assert torch.equal(first, second)
    assert second.shape == (3, 3, 2, 2)
    second += 1
    assert torch.equal(cached(decoder), first)
    maps = Path("/proc/self/maps")
    assert not maps.exists() or str(own_cache) in maps.read_text()
    assert not list(own_cache.glob("*.tmp"))


def test_changed_files_are_decoded_anew(cached: Callable[[Decoder], Tensor], tmp_path: Path) -> None:
    """Another size, another time, fewer files, another name of the data set."""
    decoder = Decoder(files_of(tmp_path))
    cached(decoder)
    decoder.files[1].write_text("a longer image")
    assert int(cached(decoder)[1, 0, 0, 0]) == len("a longer image")
    os.utime(decoder.files[1], ns=(1, 1))
    cached(decoder)
    assert decoder.calls == 3
    del decoder.files[2]
    assert len(cached(decoder)) == 2
    cache.decoded("other", decoder.files, decoder)
    assert decoder.calls == 5


def test_torn_cache_is_decoded_anew(cached: Callable[[Decoder], Tensor], own_cache: Path, tmp_path: Path) -> None:
    """Cut short, empty, or something else altogether."""
    decoder = Decoder(files_of(tmp_path))
    whole = cached(decoder).clone()
    (file,) = own_cache.glob("*.npy")
    content = file.read_bytes()
    for calls, torn in enumerate((content[:-1], b"", b"what is this", content[:20]), start=2):
        file.unlink()
        file.write_bytes(torn)
        assert torch.equal(cached(decoder), whole)
        assert decoder.calls == calls
    np.save(file, np.zeros((2, 3, 2, 2), np.uint8))
    assert torch.equal(cached(decoder), whole)


def test_cache_that_cannot_be_written_is_no_error(
    cached: Callable[[Decoder], Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images are decoded then, every time; the same holds for a disk that is full."""
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("UAPFP_CACHE", str(tmp_path / "file" / "cache"))
    decoder = Decoder(files_of(tmp_path / "images"))
    assert torch.equal(cached(decoder), cached(decoder))
    assert decoder.calls == 2
    monkeypatch.setenv("UAPFP_CACHE", str(tmp_path / "full"))

    def full(file: object, array: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert len(cached(decoder)) == 3
    assert decoder.calls == 3
    assert [path.suffix for path in (tmp_path / "full").iterdir()] == [".lock"]


def test_who_comes_at_the_same_time_waits(cached: Callable[[Decoder], Tensor], tmp_path: Path) -> None:
    """Eight workers of a node start together: one decodes."""
    decoder = Decoder(files_of(tmp_path), seconds=0.2)
    results: list[Tensor] = []
    threads = [threading.Thread(target=lambda: results.append(cached(decoder))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert decoder.calls == 1
    assert len(results) == 8
    assert all(torch.equal(result, results[0]) for result in results)


def test_failed_decoding_leaves_no_cache(cached: Callable[[Decoder], Tensor], own_cache: Path, tmp_path: Path) -> None:
    """And a file that is gone is named before anything is decoded."""
    decoder = Decoder(files_of(tmp_path))

    def torn() -> Tensor:
        raise UserError("torn")

    with pytest.raises(UserError, match="torn"):
        cache.decoded("name", decoder.files, torn)
    assert not list(own_cache.glob("*.npy"))
    decoder.files[1].unlink()
    with pytest.raises(UserError, match=r"1\.jpg"):
        cached(decoder)
    assert decoder.calls == 0


def test_the_cache_lies_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$UAPFP_CACHE, else $XDG_CACHE_HOME/uapfp_dist, else ~/.cache/uapfp_dist; few files are not cached."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("UAPFP_CACHE", str(tmp_path / "own"))
    assert cache.cache_folder() == tmp_path / "own"
    monkeypatch.delenv("UAPFP_CACHE")
    assert cache.cache_folder() == tmp_path / "xdg" / "uapfp_dist"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_folder() == tmp_path / "home" / ".cache" / "uapfp_dist"
    write_folder(tmp_path / "images")
    load("imagefolder", tmp_path / "images")
    assert not (tmp_path / "home").exists()


def test_loaders_use_the_cache(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All three that read image files; a part of the classes has a cache of its own."""
    monkeypatch.setattr(cache, "MIN_FILES", 1)
    write_cifar(tmp_path)
    write_tiny(tmp_path)
    write_folder(tmp_path / "mine")
    cases = [("cifar10", tmp_path), ("tiny_imagenet", tmp_path), ("imagefolder", tmp_path / "mine")]
    fresh = [load(name, root).digest for name, root in cases]
    assert len(list(own_cache.glob("*.npy"))) == 3

    def refuse(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(Image, "open", refuse)
    assert [load(name, root).digest for name, root in cases] == fresh
    with pytest.raises(AssertionError):
        load("cifar10", tmp_path, 2)


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
