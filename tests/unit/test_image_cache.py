"""Images are decoded once, whatever happens to the cache meanwhile."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from image_sets import write_cifar, write_folder, write_tiny
from PIL import Image
from torch import Tensor

from uapfp_dist.data import cache, load
from uapfp_dist.errors import UserError

pytestmark = pytest.mark.usefixtures("own_cache")


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
