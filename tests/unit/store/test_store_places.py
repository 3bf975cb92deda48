"""The folder or URL of a store: its version, markers of hosts that share it, and what killed writers left."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import fsspec
import pytest
from one_artifact import INFO, TENSORS, same

from uapfp_dist.errors import UserError
from uapfp_dist.storage.store import Store


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


def test_a_store_that_became_read_only_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for root: the system's answer is what counts."""

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store._files._fs, "makedirs", refuse)
    with pytest.raises(UserError, match=r"expected a folder that can be written \(Permission denied: .*model/k"):
        store.put("model", "k", TENSORS, INFO)
    assert same(store)
