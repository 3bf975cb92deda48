"""What is read back from a store is what was written, whoever writes at the same time."""

import json
import os
import threading
from pathlib import Path

import pytest
import torch
from one_artifact import INFO, TENSORS, same

from uapfp_dist.storage.store import Store


@pytest.mark.parametrize("url", ["{tmp}/folders/that/are/made", "file://{tmp}/b", "memory://uapfp-test/{tmp}"])
def test_round_trip_under_path_and_url(url: str, tmp_path: Path) -> None:
    store = Store(url.format(tmp=tmp_path))
    assert not store.has("model", "k")
    assert not store.intact("model", "k")
    store.put("model", "k", TENSORS, INFO)
    assert store.intact("model", "k")
    assert same(Store(url.format(tmp=tmp_path))), "another process would open it anew"
    store.discard("model", "k")
    store.discard("model", "k")  # twice is as good as once
    with pytest.raises(FileNotFoundError):
        store.get("model", "k")


@pytest.mark.parametrize("link", [True, False], ids=["second-names", "no-second-names"])
@pytest.mark.parametrize("url", ["file://{}", "memory://first-wins{}"])
def test_of_two_that_made_an_artifact_the_first_is_kept(
    url: str, link: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two trainings on a GPU give two models; what was made with the first one must find it again."""
    if not link:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(1, "not permitted")))
    store = Store(url.format(tmp_path / "store"))
    for i in range(3):
        store.put_new("model", "k", {"weight": torch.tensor([i])}, {"i": i})
    found = store.get("model", "k")
    assert (int(found.tensors["weight"]), found.info) == (0, {"i": 0})
    assert not list(tmp_path.rglob("*.tmp"))
    store.put("model", "k", {"weight": torch.tensor([7])}, {"i": 7})
    assert store.get("model", "k").info == {"i": 7}


def test_many_writers_of_different_artifacts_leave_one(store: Store) -> None:
    """Whoever is first: nobody replaces it, and nobody fails."""
    threads = [
        threading.Thread(target=lambda i=i: store.put_new("model", "new", {"x": torch.tensor([i])}, {"i": i}))
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    seen = set()
    for thread in threads:
        thread.join(30)
        seen.add(store.get("model", "new").info["i"])
    assert len(seen) == 1


def test_an_artifact_may_have_no_tensors(store: Store) -> None:
    store.put("report", "r", {}, {"x": 1})
    assert store.get("report", "r").tensors == {}
    assert store.get("report", "r").info == {"x": 1}


def test_views_and_grads_are_stored_as_plain_numbers(store: Store) -> None:
    transposed = torch.arange(6.0).reshape(2, 3).T.requires_grad_()
    store.put("model", "v", {"t": transposed}, {})
    assert torch.equal(store.get("model", "v").tensors["t"], transposed.detach())


def test_two_writers_of_one_artifact_and_a_reader(store: Store) -> None:
    """Whoever wins, a reader finds a whole artifact at any time."""
    errors: list[BaseException] = []
    writing = threading.Event()
    writing.set()

    def write() -> None:
        try:
            for _ in range(30):
                Store(store.url).put("model", "k", TENSORS, INFO)
        except BaseException as error:
            errors.append(error)

    def read() -> None:
        try:
            while writing.is_set():
                assert same(store)
        except BaseException as error:
            errors.append(error)

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write) for _ in range(2)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    writing.clear()
    reader.join()
    assert not errors
    assert not list(Path(store.root).rglob("*.tmp"))


def test_the_file_is_plain_safetensors(store: Store) -> None:
    """Readable by others: eight bytes of length, then JSON."""
    raw = Path(store.path("model", "k")).read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert json.loads(header["__metadata__"]["info"]) == INFO
    assert header["a"]["shape"] == [2, 3]
