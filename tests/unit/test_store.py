"""Artifacts survive crashes, bit rot and foreign files: what is read back is what was written, or nothing."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

from uapfp_dist.errors import UserError
from uapfp_dist.storage.artifacts import TornArtifactError
from uapfp_dist.storage.filesystem import Filesystem
from uapfp_dist.storage.store import Store

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([7, 8])}
INFO = {"accuracy": 0.1 + 0.2, "name": "größe", "nested": {"list": [1, None, True]}}


def same(store: Store, key: str = "k") -> bool:
    """Whether the artifact reads as it was written, to the bit."""
    found = store.get("model", key)
    return found.info == INFO and all(
        found.tensors[name].dtype == tensor.dtype and torch.equal(found.tensors[name], tensor)
        for name, tensor in TENSORS.items()
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with one artifact."""
    made = Store(str(tmp_path / "store"))
    made.put("model", "k", TENSORS, INFO)
    return made


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


@pytest.mark.parametrize("marker", ['{"format": 999}', '{"format": "1"}', "{}"])
def test_a_store_of_another_version_is_refused(marker: str, store: Store) -> None:
    Path(store.root, "store.json").write_text(marker)
    with pytest.raises(UserError, match=r"expected artifacts of format 1, found format") as error:
        Store(store.url)
    assert error.value.argument == "storage"
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("marker", ["", "[]", '{"form'])
def test_a_torn_marker_is_refused(marker: str, store: Store) -> None:
    Path(store.root, "store.json").write_text(marker)
    with pytest.raises(UserError, match="storage") as error:
        Store(store.url)
    assert error.value.argument == "storage"


@pytest.mark.parametrize("below", ["", "folder", "folder/deeper"])
def test_a_file_where_the_folder_should_be(below: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UserError, match="expected a folder that can be written"):
        Store(str(file / below))
    assert file.read_text() == "mine"


def test_an_unknown_kind_of_url_is_the_users_error() -> None:
    with pytest.raises(UserError, match="storage"):
        Store("nosuchprotocol://bucket/x")


def test_a_kind_of_url_whose_driver_is_not_installed() -> None:
    """As s3:// is without s3fs."""
    fsspec.register_implementation("uapfpmissing", "no.such.module.FS", errtxt="Install nosuch", clobber=True)
    with pytest.raises(UserError, match="Install nosuch"):
        Store("uapfpmissing://bucket/x")


# --- many at a time


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


# --- many hosts


def test_only_the_same_storage_shows_the_marker(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the same name on a host's own disk does not."""
    monkeypatch.setattr("uapfp_dist.storage.store.MARKER_SECONDS", 0.3)
    first, second = store.write_marker(), store.write_marker()
    assert first != second
    assert Store(store.url).has_marker(first)
    assert Store(store.url).has_marker(second)
    elsewhere = Store(str(tmp_path / "elsewhere"))
    elsewhere.write_marker()
    assert not elsewhere.has_marker(first)
    Path(elsewhere.root, "marks", first).write_text("another marker")
    assert not elsewhere.has_marker(first), "its name can be guessed from a listing, its content is looked at"


def test_a_marker_that_shows_late_is_seen(store: Store, tmp_path: Path) -> None:
    """Network disks may take a moment."""
    marker = store.write_marker()
    shown = Path(store.root, "marks", marker)
    hidden = shown.rename(tmp_path / "hidden")
    threading.Timer(0.5, lambda: shutil.move(hidden, shown)).start()
    assert store.has_marker(marker)


def test_old_markers_are_removed_by_the_next(store: Store) -> None:
    marker = store.write_marker()
    day, nonce = marker.split("-")
    old = Path(store.root, "marks", marker).rename(Path(store.root, "marks", f"{int(day) - 31}-{nonce}"))
    recent = Path(store.root, "marks", f"{int(day) - 29}-{nonce}")
    recent.write_text("of a job that may still run")
    store.write_marker()
    assert not old.exists()
    assert recent.exists()


def test_what_a_killed_writer_left_is_collected(store: Store, tmp_path: Path) -> None:
    """Killed with SIGKILL between write and rename. A writer that may still be at work keeps its file."""
    program = f"""
import os, signal
from uapfp_dist.storage.store import Store
os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
Store({store.url!r}).put("model", "new", {{}}, {{}})
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=120, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (left,) = Path(store.root).rglob("*.tmp")
    users = [Path(store.root, "theirs.tmp"), Path(store.root, "model", "notes.tmp")]
    for path in users:
        path.write_text("mine")
    assert store.remove_leftovers() == 0
    for path in (left, *users):
        os.utime(path, (0, 0))
    assert store.remove_leftovers() == 1
    assert not left.exists()
    assert all(path.exists() for path in users)
    assert store.intact("model", "k")


def test_a_file_that_its_writer_renames_meanwhile_is_no_error(store: Store) -> None:
    """Listed, and gone when it is looked at: as a link to nothing."""
    Path(store.root, "model", f"new.safetensors.{32 * 'a'}.tmp").symlink_to("nowhere")
    assert store.remove_leftovers() == 0


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


def test_the_file_is_plain_safetensors(store: Store) -> None:
    """Readable by others: eight bytes of length, then JSON."""
    raw = Path(store.path("model", "k")).read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert json.loads(header["__metadata__"]["info"]) == INFO
    assert header["a"]["shape"] == [2, 3]


def test_a_store_that_became_read_only_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for root: the system's answer is what counts."""

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store._files._fs, "makedirs", refuse)
    with pytest.raises(UserError, match=r"expected a folder that can be written \(Permission denied: .*model/k"):
        store.put("model", "k", TENSORS, INFO)
    assert same(store)
