"""Three hundred damaged or odd files in a folder: the right pixels, or a line that names the file."""

import warnings
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from odd_files import LEFT_OUT, REFUSED, SIDE, SUFFIXES, TEN, Odd, colours, encoded
from odd_images import KINDS
from PIL import Image
from torchvision.datasets.folder import pil_loader

from uapfp_dist.data.dataset import Dataset
from uapfp_dist.data.file_names import shown
from uapfp_dist.data.imagefolder import load_imagefolder
from uapfp_dist.errors import UserError

EACH = 10


def test_there_are_three_hundred() -> None:
    assert EACH * len(KINDS) >= 300


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", KINDS)
def test_the_right_pixels_or_a_line_that_names_the_file(name: str, tmp_path: Path) -> None:
    """Pillow's warnings are errors here."""
    for number in range(EACH):
        rng = np.random.default_rng([crc32(name.encode()), number])
        root = tmp_path / str(number) / "images"
        for c in ("a", "b"):
            (root / c).mkdir(parents=True)
            Image.new("RGB", (SIDE, SIDE), (1, 2, 3)).save(root / c / "0.png")
        odd = KINDS[name](root / "a", rng)
        before = listing(tmp_path)
        check(root, odd, f"{name} {number}")
        assert listing(tmp_path) == before


def listing(folder: Path) -> list[tuple[str, int]]:
    """Every name, with the time of its last change."""
    return sorted((str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*"))


def check(root: Path, odd: Odd, case: str) -> None:
    if isinstance(odd.wanted, str) and odd.wanted == REFUSED:
        with pytest.raises(UserError) as caught:
            load_imagefolder(root, size=(SIDE, SIDE))
        line = str(caught.value)
        assert line.isprintable(), case
        assert shown(odd.path) in line, case
        assert odd.said in line, case
        assert "; repair it, convert it or move it away" in line, case
        return
    dataset = load_imagefolder(root, size=(SIDE, SIDE))
    if isinstance(odd.wanted, str):
        assert odd.wanted == LEFT_OUT
        assert dataset.files == ("a/0.png", "b/0.png"), case
    else:
        found = dataset.images[position(dataset, root, odd)].permute(1, 2, 0).numpy()
        assert np.abs(found.astype(int) - odd.wanted).max() <= odd.tolerance, case
    assert any(odd.said in fact for fact in dataset.facts), f"{case}: {dataset.facts}"
    assert all(fact.isprintable() for fact in dataset.facts), case


def position(dataset: Dataset, root: Path, odd: Odd) -> int:
    """Its index; the two other images are there as ever."""
    assert len(dataset.files) == 3
    assert dataset.labels.tolist() == [0, 0, 1]
    return dataset.files.index(odd.path.relative_to(root).as_posix())


@pytest.mark.timeout(60)
@pytest.mark.parametrize("fmt", TEN)
def test_bytes_that_changed_on_the_way(fmt: str, tmp_path: Path) -> None:
    """Most formats have no checksum: what can still be read is what torchvision's loader reads, the rest is refused."""
    rng = np.random.default_rng(crc32(fmt.encode()))
    whole = encoded(colours(rng), fmt)
    for c in ("a", "b"):
        (tmp_path / c).mkdir()
        Image.new("RGB", (SIDE, SIDE), (1, 2, 3)).save(tmp_path / c / "0.png")
    path = tmp_path / "a" / f"x{SUFFIXES[fmt]}"
    for _ in range(20):
        data = bytearray(whole)
        for place in rng.integers(0, min(len(data), 200), int(rng.integers(1, 4))):
            data[place] = int(rng.integers(256))
        path.write_bytes(data)
        try:
            found = load_imagefolder(tmp_path, size=(SIDE, SIDE))
        except UserError as error:
            assert str(path) in str(error)  # noqa: PT017
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = np.asarray(pil_loader(path))
        if theirs.shape == (SIDE, SIDE, 3) and not any("turned" in fact or "scaled" in fact for fact in found.facts):
            assert np.array_equal(found.images[1].permute(1, 2, 0).numpy(), theirs)
