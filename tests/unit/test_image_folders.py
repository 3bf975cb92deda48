"""What the folders of a user's images are taken for, what is left out, and what a person reads of it first."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.config.schema import Config, DataConfig
from uapfp_dist.data import Dataset, cache, load
from uapfp_dist.data.imagefolder import load_imagefolder
from uapfp_dist.data.summary import summary_lines
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.grid_axes import parse_grid
from uapfp_dist.launch.ablation import run_grid
from uapfp_dist.launch.enrollment import run_enrollment
from uapfp_dist.launch.evaluation import run
from uapfp_dist.verification.enrollment.config import EnrollConfig


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UAPFP_CACHE", str(tmp_path_factory.mktemp("cache")))


def fill(root: Path, *folders: str, n: int = 10, size: tuple[int, int] = (6, 5)) -> Path:
    """`n` images of noise in each of `folders`; `size` is (width, height)."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            Image.fromarray(noise(f"{folder}/{i}", size[1], size[0])).save(root / folder / f"{i}.png")
    return root


def noise(seed: str, height: int, width: int) -> np.ndarray:
    """Bytes that follow from `seed`."""
    return np.random.default_rng(list(seed.encode())).integers(0, 256, (height, width, 3), dtype=np.uint8)


def facts(dataset: Dataset) -> str:
    """All of them."""
    return "\n".join(dataset.facts)


# --- splits


@pytest.mark.parametrize(
    ("train", "held_out"),
    [
        ("train", "test"), ("train", "val"), ("Train", "Test"), ("training", "testing"), ("TRAIN", "valid"),
        ("train", "validation"), ("train", "dev"), ("train", "eval"),
    ],
)  # fmt: skip
def test_training_and_held_out_images(train: str, held_out: str, tmp_path: Path) -> None:
    """Whatever they are called: the first are the official training images."""
    fill(tmp_path, f"{train}/cat", f"{train}/dog", n=12)
    fill(tmp_path, f"{held_out}/cat", f"{held_out}/dog", n=4)
    dataset = load("imagefolder", tmp_path)
    assert (dataset.class_names, dataset.n_train, len(dataset.labels)) == (("cat", "dog"), 24, 32)
    assert dataset.files[0] == f"{train}/cat/0.png"
    assert dataset.files[24] == f"{held_out}/cat/0.png"
    assert dataset.note == ""


def test_a_third_split_is_said_to_be_unused(tmp_path: Path) -> None:
    """With its number; `test` is the test set."""
    fill(tmp_path, *(f"{part}/{name}" for part in ("train", "valid", "test") for name in ("cat", "dog")))
    dataset = load("imagefolder", tmp_path)
    assert (dataset.n_train, len(dataset.labels)) == (20, 40)
    assert all(name.startswith(("train/", "test/")) for name in dataset.files)
    assert "files of valid not used, as test is the test set: 20 (valid/, ...)" in dataset.facts
    assert dataset.note == "20 files of valid not used"


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (["train/cat", "train/dog"], ["found only train", "add test, or give", "/train"]),
        (["val/cat", "val/dog"], ["no training images beside val"]),
        (["train/cat", "Train/cat", "test/cat"], ["two folders of training images, Train, train"]),
        (["train/cat", "val/cat", "valid/cat"], ["two folders of validation images, val, valid"]),
        (["train/cat", "train/dog", "test/cat", "test/dog", "emu"], ["the splits test, train beside emu", "move one"]),
        (["train/cat", "train/dog", "test"], ["no class folders in test", "sort its images by class, or move it away"]),
        (["train", "test"], ["no class folders in test, train"]),
        (["train", "val", "cat"], ["no class folders in train, val"]),
        (["cat/train", "cat/test", "dog/train", "dog/test"], ["training and test images within cat", "train/<class>"]),
        (["data/train/cat", "data/test/cat"], ["only the class data", "give ", "/data"]),
        (["cat"], ["only the class cat", "choose another folder"]),
        (["train/cat", "train/dog", "test/cat", "test/emu"], ["same classes", "dog, emu"]),
        ([], ["found no folder"]),
    ],
)
def test_what_is_no_clear_layout_is_refused(folders: list[str], words: list[str], tmp_path: Path) -> None:
    fill(tmp_path, *folders)
    with pytest.raises(UserError) as caught:
        load("imagefolder", tmp_path)
    assert all(word in str(caught.value) for word in (*words, str(tmp_path))), caught.value
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("parts", [("training_set", "test_set"), ("tr", "te"), ("fold1", "fold2", "fold3")])
def test_parts_of_unknown_names_are_not_taken_for_classes(parts: tuple[str, ...], tmp_path: Path) -> None:
    fill(tmp_path, *(f"{part}/{name}" for part in parts for name in ("cat", "dog")))
    with pytest.raises(UserError, match=r"found the same folders, cat, dog, in each of .*name the parts") as caught:
        load("imagefolder", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_file_in_two_classes_is_refused(tmp_path: Path) -> None:
    """By a link to another class: every image of it would have both labels."""
    fill(tmp_path, "cat", "dog")
    (tmp_path / "dog" / "link").symlink_to(tmp_path / "cat", target_is_directory=True)
    with pytest.raises(UserError, match=r"in one class and part, got .*cat/0\.png again as .*dog/link/0\.png"):
        load("imagefolder", tmp_path)


def test_8_bits_in_files_of_16_are_refused(tmp_path: Path) -> None:
    """Divided by 257 they would all be black."""
    for folder in ("cat", "dog"):
        (tmp_path / folder).mkdir()
        for i in range(10):
            Image.fromarray(np.full((5, 6), 25 * i, np.uint16)).save(tmp_path / folder / f"{i}.png")
    with pytest.raises(UserError, match="the largest of all is 225: they hold 8 bits"):
        load("imagefolder", tmp_path)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    """One that holds images, not classes, beside other classes; it is said."""
    dataset = load("imagefolder", fill(tmp_path, "bus", "car", "train"))
    assert dataset.class_names == ("bus", "car", "train")
    assert "folders with the name of a split but without class folders, taken for classes: 1 (train)" in dataset.facts


# --- files


def test_files_are_in_the_order_of_torchvision(tmp_path: Path) -> None:
    """In sub-folders, too, and behind links; pixels as its loader reads them. Today's digests stay."""
    fill(tmp_path, "dog", "cat", "cat/more", "cat/More", "cat-b", "cat/a")
    fill(tmp_path / "away", "x")
    (tmp_path / "dog" / "linked").symlink_to(tmp_path / "away" / "x")
    (tmp_path / "away").rename(tmp_path / ".away")
    (tmp_path / "dog" / "linked").unlink()
    (tmp_path / "dog" / "linked").symlink_to(tmp_path / ".away" / "x")
    ours = load("imagefolder", tmp_path)
    (tmp_path / ".away").rename(tmp_path.parent / f"{tmp_path.name}-away")
    (tmp_path / "dog" / "linked").unlink()
    (tmp_path / "dog" / "linked").symlink_to(tmp_path.parent / f"{tmp_path.name}-away" / "x")
    theirs = ImageFolder(str(tmp_path))
    assert ours.class_names == tuple(theirs.classes)
    assert [str(tmp_path / name) for name in ours.files] == [path for path, _ in theirs.samples]
    assert ours.labels.tolist() == theirs.targets
    pixels = [torch.from_numpy(np.array(image)).permute(2, 0, 1) for image, _ in theirs]
    assert torch.equal(ours.images, torch.stack(pixels))


def test_litter_is_neither_image_nor_class(tmp_path: Path) -> None:
    """Of editors, notebooks, archives and file systems; counted by kind."""
    fill(tmp_path, "cat", "dog")
    clean = load("imagefolder", tmp_path)
    fill(tmp_path, ".ipynb_checkpoints", "__MACOSX", "@eaDir", "cat/.ipynb_checkpoints", "cat/@eaDir", n=1)
    for name in (".DS_Store", "._0.png", "Thumbs.db", "desktop.ini", "0.png~"):
        (tmp_path / "cat" / name).write_bytes((tmp_path / "cat" / "0.png").read_bytes())
    (tmp_path / "labels.csv").write_text("0,cat")
    dataset = load("imagefolder", tmp_path)
    assert dataset.digest == clean.digest
    assert dataset.class_names == ("cat", "dog")
    hidden, other = "left out as litter, hidden: 4 (", "left out as litter, of a system, an archive or an editor: 6 ("
    assert hidden in facts(dataset)
    assert other in facts(dataset)
    assert "files beside the folders of classes, not read: 1 (labels.csv)" in dataset.facts


def test_what_is_no_image_is_counted_by_suffix(tmp_path: Path) -> None:
    fill(tmp_path, "cat", "dog")
    for name in ("a.txt", "b.txt", "c.TXT", "d.npy", "README", "e.a\tb"):
        (tmp_path / "cat" / name).write_text("no image")
    found = facts(load("imagefolder", tmp_path))
    assert "no images by name or content, .txt: 3 (cat/a.txt, cat/b.txt, ...)" in found
    assert 'no images by name or content, ".a\\tb": 1 ("cat/e.a\\tb")' in found
    assert "no images by name or content, .npy: 1 (cat/d.npy)" in found
    assert "no images by name or content, without a suffix: 1 (cat/README)" in found


def test_a_class_without_images_is_named(tmp_path: Path) -> None:
    """An empty one, and one that holds other files."""
    fill(tmp_path, "cat", "dog")
    (tmp_path / "emu").mkdir()
    for _ in range(2):
        with pytest.raises(UserError, match=r"images of every class, found none in .*emu"):
            load("imagefolder", tmp_path)
        (tmp_path / "emu" / "notes.txt").write_text("later")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "cat", "dog/more")
    (tmp_path / "dog" / "more").chmod(0)
    with pytest.raises(UserError, match=r"cannot read the folder .*dog.more"):
        load("imagefolder", tmp_path)


def test_12_bits_in_a_file_of_16_are_said(tmp_path: Path) -> None:
    """They are not scaled in silence: the range is there, and what it may mean."""
    for name, top in (("cat", 4095), ("dog", 4000)):
        (tmp_path / name).mkdir()
        for i in range(10):
            values = np.random.default_rng([i, top]).integers(0, top, (5, 6)).astype(np.uint16)
            values[0, :2] = 0, top
            Image.fromarray(values).save(tmp_path / name / f"{i}.png")
    dataset = load("imagefolder", tmp_path)
    assert dataset.shape == (1, 5, 6)
    assert int(dataset.images.max()) == 16
    assert "values of 16 bits, divided by 257: 0 to 4095; if these are 12-bit values, multiply" in facts(dataset)
    assert dataset.note == "20 images of 16 bits, divided by 257"


# --- what is read first


def test_the_summary_lists_a_few_classes(tmp_path: Path) -> None:
    fill(tmp_path, "cat", "dog", n=12)
    fill(tmp_path, "dog", n=15)
    assert summary_lines(load("imagefolder", tmp_path)) == [
        "imagefolder: 27 images of 2 classes, 3x5x6",
        "  no images are set apart for testing, so splits are drawn from all; cat 12, dog 15",
        "  size 5x6, that of every image",
    ]


def test_the_summary_of_many_classes(tmp_path: Path) -> None:
    """Least, most and median; of training and of test images."""
    fill(tmp_path, *(f"train/{i:02}" for i in range(12)), n=11)
    fill(tmp_path, *(f"test/{i:02}" for i in range(12)), n=2)
    fill(tmp_path, "train/07", n=14)
    lines = summary_lines(load("imagefolder", tmp_path))
    assert lines[1:3] == [
        "  135 training images; 11 (00) to 14 (07) a class, median 11",
        "  24 test images; 2 (00) to 2 (00) a class, median 2",
    ]


def test_a_cached_start_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is opened again; a record that is torn is made anew; another size is other pixels."""
    monkeypatch.setattr(cache, "MIN_FILES", 1)
    fill(tmp_path, "cat", "dog")
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    Image.new("L", (9, 9), 7).save(tmp_path / "dog" / "grey.gif")
    first = load_imagefolder(tmp_path)
    (record,) = cache.cache_folder().glob("*.json")
    record.write_text(record.read_text()[:30])
    assert summary_lines(load_imagefolder(tmp_path)) == summary_lines(first)
    monkeypatch.setattr(Image, "open", None)
    second = load_imagefolder(tmp_path)
    assert (second.digest, second.files, second.note) == (first.digest, first.files, first.note)
    assert summary_lines(second) == summary_lines(first)
    monkeypatch.undo()
    monkeypatch.setenv("UAPFP_CACHE", str(record.parent))
    monkeypatch.setattr(cache, "MIN_FILES", 1)
    assert load_imagefolder(tmp_path, size=(3, 4)).shape == (3, 3, 4)


@pytest.mark.parametrize("command", ["evaluation", "grid", "enrolment"])
def test_a_person_reads_it_before_anything_is_trained(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr; then these few images are refused."""
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "data", "train/cat", "train/dog", "test/cat", "test/dog", "val/cat")
    runtime = RuntimeConfig(storage=str(tmp_path / "store"), data_root=tmp_path / "data", workers=0)
    config = replace(Config(), data=DataConfig(name="imagefolder", size=(4,)))
    start: dict[str, Callable[[], object]] = {
        "evaluation": lambda: run(config, "digits", 0, runtime),
        "grid": lambda: run_grid(config, "digits", 0, runtime, ["n_points=10"]),
        "enrolment": lambda: run_enrollment(config, "digits", 0, EnrollConfig(), runtime, tmp_path / "kit"),
    }
    with pytest.raises(UserError, match="at most the 10 images of D_v"):
        start[command]()
    printed = capsys.readouterr().err.splitlines()
    assert printed == [
        "imagefolder: 40 images of 2 classes, 3x4x4",
        "  20 training images; cat 10, dog 10",
        "  20 test images; cat 10, dog 10",
        "  size 4x4 (height x width), as asked for of 40 images of 5x6; 40 are stretched to it, 0 of them enlarged",
        "  files of val not used, as test is the test set: 10 (val/, ...)",
    ]


def test_a_share_that_would_split_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The images come with a test set: it would change seeds alone. That of the preset is nobody's choice."""
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "data", "train/cat", "train/dog", "test/cat", "test/dog")
    runtime = RuntimeConfig(storage=str(tmp_path / "store"), data_root=tmp_path / "data", workers=0)
    kept = Config(data=DataConfig(name="imagefolder", size=(4,)))
    of_preset, own = (replace(kept, data=replace(kept.data, train_share=share)) for share in (0.3, 0.5))
    refused: list[Callable[[], object]] = [
        lambda: run(own, "digits", 0, runtime),
        lambda: run_grid(own, "digits", 0, runtime, ["n_points=10"]),
        lambda: run_grid(kept, "digits", 0, runtime, ["data.train_share=0.5,0.6"]),
        lambda: run_enrollment(own, "digits", 0, EnrollConfig(), runtime, tmp_path / "kit"),
    ]
    for start in refused:
        with pytest.raises(UserError, match=r"^data\.train_share: expected 0\.\d+, .* got 0\.5; leave it out$"):
            start()
    for config in (of_preset, kept):
        with pytest.raises(UserError, match="at most the 10 images of D_v"):
            run_enrollment(config, "digits", 0, EnrollConfig(), runtime, tmp_path / "kit")


def test_a_grid_may_vary_the_size() -> None:
    axis = parse_grid(["data.size=8,8+9,none"])[0]
    assert axis.values == ((8,), (8, 9), None)
