"""Artifacts survive crashes, bit rot and foreign files: what is not whole is not read, and nothing in it is run."""

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from one_artifact import INFO, TENSORS, same

from uapfp_dist.storage.artifacts import TornArtifactError
from uapfp_dist.storage.filesystem import Filesystem
from uapfp_dist.storage.store import Store


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_an_interrupted_put_leaves_nothing(error: BaseException, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*paths: str) -> None:
        raise error

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(type(error)):
        store.put("model", "new", TENSORS, INFO)
    assert not store.has("model", "new")
    assert not list(Path(store.root).rglob("*.tmp"))


def test_an_interrupted_put_leaves_the_artifact_that_was_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        store.put("model", "k", TENSORS, {"other": 1})
    assert same(store)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_artifact_is_removed(share: float, store: Store) -> None:
    path = Path(store.path("model", "k"))
    raw = path.read_bytes()
    path.write_bytes(raw[: int(share * len(raw))])
    assert store.has("model", "k")
    assert not store.intact("model", "k")
    assert not path.exists(), "so that it is made again"


def test_no_flipped_bit_changes_what_is_read(store: Store) -> None:
    """Every byte of the file: the header's length, the header, the tensors. Labels that nobody reads may change."""
    path = Path(store.path("model", "k"))
    raw = path.read_bytes()
    noticed = 0
    for offset in range(len(raw)):
        path.write_bytes(raw[:offset] + bytes([raw[offset] ^ (1 << offset % 7)]) + raw[offset + 1 :])
        if store.intact("model", "k"):
            assert same(store), f"a bit flipped at {offset} went unnoticed"
        else:
            noticed += 1
            assert not path.exists()
    assert noticed > 0.9 * len(raw)


def test_reading_a_torn_artifact_says_what_to_do(store: Store) -> None:
    path = Path(store.path("model", "k"))
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(TornArtifactError, match="run again"):
        store.get("model", "k")


def test_a_torn_transfer_costs_no_artifact(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes over a network may be torn where the file is whole."""
    read, transfers = Filesystem.read, iter([b"torn", None])
    monkeypatch.setattr(Filesystem, "read", lambda self, path: next(transfers) or read(self, path))
    assert same(store)
    assert Path(store.path("model", "k")).exists()


def test_a_whole_artifact_under_another_name_is_foreign(store: Store) -> None:
    shutil.copy(store.path("model", "k"), store.path("model", "other"))
    assert not store.intact("model", "other")
    assert store.intact("model", "k")


def test_which_of_many_are_whole(store: Store) -> None:
    """As one by one; torn ones are removed."""
    for i in range(20):
        store.put("answers", str(i), TENSORS, {"i": i})
    torn = Path(store.path("answers", "7"))
    torn.write_bytes(torn.read_bytes()[:-1])
    wanted = [("answers", str(i)) for i in range(25)] + [("model", "k"), ("probe", "p")]
    assert store.intact_among(wanted) == {pair for pair in wanted if store.intact(*pair)}
    assert len(store.intact_among(wanted)) == 20
    assert not torn.exists()
    assert store.intact_among([]) == set()


def test_what_was_whole_is_read_again_only_when_it_changed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    intact = Store.intact

    def watched(self: Store, kind: str, key: str) -> bool:
        read.append(key)
        return intact(self, kind, key)

    monkeypatch.setattr(Store, "intact", watched)
    assert store.intact_among([("model", "k")]) == store.intact_among([("model", "k")]) == {("model", "k")}
    assert read == ["k"]
    Path(store.path("model", "k")).write_bytes(b"rot")
    assert store.intact_among([("model", "k")]) == set()
    assert store.intact_among([("model", "k")]) == set()
    assert read == ["k", "k"]


class Exploit:
    """Unpickling it leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = str(trace)

    def __reduce__(self) -> Any:
        return open, (self.trace, "w")


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_a_pickle_is_refused_without_running_it(how: str, store: Store, tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", Path(store.path("model", "evil"))
    if how == "pickle":
        path.write_bytes(pickle.dumps(Exploit(trace)))
    else:
        torch.save({"w": Exploit(trace)}, path)
    assert not store.intact("model", "evil")
    assert not path.exists()
    assert not trace.exists()
