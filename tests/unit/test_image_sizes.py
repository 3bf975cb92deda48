"""The one size of a folder's images, and the memory for them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from uapfp_dist.config.schema import Config, DataConfig
from uapfp_dist.config.validation import check
from uapfp_dist.data import image_size, load, memory
from uapfp_dist.data.image_size import choose_size
from uapfp_dist.data.imagefolder import load_imagefolder
from uapfp_dist.errors import UserError
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.hashing import canonical, wire_form
from uapfp_dist.tasks.specs import DataSpec


@pytest.mark.parametrize(
    ("sizes", "wanted", "size", "words"),
    [
        ([(32, 32)] * 9, None, (32, 32), "size 32x32, that of every image"),
        ([(500, 512)] * 9, None, (500, 512), "size 500x512, that of every image"),
        (
            [(2000, 3000)] * 60,
            None,
            (149, 224),
            "the median, at most 224 on the longer side, of 60 images of 2000x3000",
        ),
        ([(2000, 3000), *[(30, 40)] * 9], None, (30, 40), "the median of 10 images from 30x40 to 2000x3000; 1 are"),
        ([(10, 20), (20, 40), (30, 60)], None, (20, 40), "2 are stretched to it, 1 of them enlarged; data.size sets"),
        ([(10, 20), (30, 60)], (12, 8), (12, 8), "size 12x8 (height x width), as asked for of 2 images from 10x20"),
        ([(1, 4000)] * 3, None, (1, 224), "at most 224"),
    ],
)
def test_the_size_and_why(
    sizes: list[tuple[int, int]], wanted: tuple[int, int] | None, size: tuple[int, int], words: str
) -> None:
    found, why = choose_size(sizes, wanted)
    assert found == size
    assert words in why


def write(path: Path, height: int, width: int, colour: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), colour).save(path)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """One photo of 900x1200 before 19 images of 6x8; each of one colour."""
    write(tmp_path / "a" / "0.jpg", 900, 1200, (200, 100, 50))
    for i in range(1, 20):
        write(tmp_path / "ab"[i % 2] / f"{i}.png", 6, 8, (i, 2 * i, 3 * i))
    write(tmp_path / "a" / "20.png", 6, 8, (20, 40, 60))
    return tmp_path


def test_one_large_photo_does_not_rule(mixed: Path) -> None:
    dataset = load("imagefolder", mixed)
    assert dataset.shape == (3, 6, 8)
    assert (dataset.images[0].long() - torch.tensor([200, 100, 50])[:, None, None]).abs().max() <= 3
    assert dataset.images[dataset.files.index("b/7.png")].flatten(1).unique(dim=1).tolist() == [[7], [14], [21]]
    assert dataset.note == "resized to 6x8"


def test_a_size_that_was_asked_for(mixed: Path) -> None:
    dataset = load("imagefolder", mixed, size=(4, 3))
    assert dataset.shape == (3, 4, 3)
    assert "size 4x3 (height x width), as asked for" in dataset.facts[0]


def test_resizing_averages(tmp_path: Path) -> None:
    """A board of black and white becomes grey, in a PNG and in a JPEG; it is not sampled."""
    board = np.indices((96, 96)).sum(0) % 2 * 255
    for i, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        Image.fromarray(board.astype(np.uint8)).save(tmp_path / name / ("x.png", "x.jpg")[i], quality=100)
    dataset = load_imagefolder(tmp_path, size=(8, 8))
    assert (dataset.images.float() - 127.5).abs().max() <= 2


def test_turned_photos_are_shrunk_upright(tmp_path: Path) -> None:
    """Left half red, right half blue, stored lying on its side."""
    upright = np.zeros((400, 200, 3), np.uint8)
    upright[:, :100, 0] = upright[:, 100:, 2] = 255
    exif = Image.Exif()
    exif[274] = 6
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.rot90(upright).copy()).save(tmp_path / name / "x.jpg", exif=exif, quality=95)
    dataset = load_imagefolder(tmp_path)
    assert dataset.shape == (3, 400, 200)
    small = load_imagefolder(tmp_path, size=(20, 10)).images[0]
    assert small[0, :, :3].min() > 240
    assert small[0, :, 7:].max() < 15
    assert small[2, :, 7:].min() > 240


# --- memory


def test_memory_is_predicted_before_it_is_taken(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty photos need no more than what they become; what is not there is refused in one line."""
    monkeypatch.setattr(image_size, "available_memory", lambda: 15_000_000)
    assert load("imagefolder", mixed).shape == (3, 6, 8)
    monkeypatch.setattr(torch, "empty", None)  # nothing is taken
    with pytest.raises(UserError, match=r"15.0 MB of memory that are free, 21 of 3x900x1200 need 68.0 MB") as caught:
        load("imagefolder", mixed, size=(900, 1200))
    assert caught.value.argument == "data.size"
    assert "\n" not in str(caught.value)


def test_memory_that_is_not_known_refuses_nothing(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_size, "available_memory", lambda: None)
    assert load("imagefolder", mixed).shape == (3, 6, 8)


@pytest.mark.parametrize(
    ("groups", "files", "free"),
    [
        ("", {}, 8_000 * 1024),
        ("0::/jobs/one", {"jobs/one/memory.max": "max"}, 8_000 * 1024),
        ("0::/jobs/one", {"jobs/one/memory.max": "5000000"}, 4_001_500),
        ("0::/jobs/one", {"jobs/memory.max": "2000000"}, 1_001_500),
        ("0::/gone/inside", {"memory.max": "3000000"}, 2_001_500),
        ("4:memory:/j", {"memory/j/memory.limit_in_bytes": "900000"}, 0),
        ("4:memory:/j", {"memory/j/memory.limit_in_bytes": "9223372036854771712"}, 8_000 * 1024),
    ],
)
def test_free_memory_of_machine_and_control_groups(
    groups: str, files: dict[str, str], free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is used less the cache of files; the tightest of all limits counts."""
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "groups")
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable: 8000 kB\n")
    (tmp_path / "proc" / "self" / "cgroup").write_text(f"7:cpu:/x\n{groups}\n" if groups else "")
    for name, limit in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True)
        path.write_text(f"{limit}\n")
        for used in ("memory.current", "memory.usage_in_bytes"):
            (path.parent / used).write_text("1000000")
        (path.parent / "memory.stat").write_text("anon 5\ninactive_file 1500\n")
    assert memory.available_memory() == free


def test_the_free_memory_of_this_machine_is_known() -> None:
    free = memory.available_memory()
    assert free is None or free > 10**6


# --- the option, and what it does to ids


@pytest.mark.parametrize("name", ["digits", "cifar10"])
def test_only_folders_are_resized(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"data.size: expected with imagefolder alone, got it with {name}"):
        load(name, tmp_path, size=(4, 4))


@pytest.mark.parametrize("size", [(0,), (-1, 5), (5, 20_000)])
def test_a_size_that_cannot_be(size: tuple[int, ...], mixed: Path) -> None:
    with pytest.raises(UserError, match=r"data\.size: expected sides from 1 to 10000"):
        load("imagefolder", mixed, size=DataConfig(size=size).shape)


@pytest.mark.parametrize("size", [(), (1, 2, 3)])
def test_one_side_or_two(size: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"data\.size: expected one side, or height and width, got"):
        check(Config(data=DataConfig(size=size)))


def test_a_size_is_part_of_ids_only_where_it_is_given() -> None:
    """One side and two equal ones are the same."""
    assert "size" not in canonical(DataConfig())
    assert "size" not in wire_form(DataConfig())
    assert canonical(DataConfig(size=(7,))) == canonical(DataConfig(size=(7, 7)))
    assert wire_form(DataConfig(size=(7, 9)))["size"] == [7, 9]
    spec = DataSpec("imagefolder", "0", 0, 0.5, (0.4, 0.3, 0.3))
    assert "size" not in canonical(spec)
    assert "size" not in wire_form(spec)


def test_workers_read_the_same_size(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """It travels with the specs; without it the digest is another."""
    data = DataConfig(name="imagefolder", size=(5,))
    dataset = load("imagefolder", mixed, size=data.shape)
    spec = DataSpec(dataset.name, dataset.digest, 0, 0.5, (0.4, 0.3, 0.3), size=data.shape)
    context = TaskContext(Store(str(tmp_path_factory.mktemp("store"))), mixed, torch.device("cpu"))
    assert context.data(spec)[0].shape == (3, 5, 5)
    with pytest.raises(UserError, match="expected the images with digest"):
        context.data(DataSpec(dataset.name, dataset.digest, 0, 0.5, (0.4, 0.3, 0.3)))
