"""Artifacts in a bucket: as on a disk, in as few requests as can be, through busy servers and torn transfers."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import fsspec.implementations.memory
import pytest
import s3fs
import torch
from object_storage import BUCKET, S3, s3_server
from system import run_here, tiny_plan

from uapfp_dist.errors import UserError
from uapfp_dist.reporting.report_schema import ModelCounts
from uapfp_dist.storage import filesystem
from uapfp_dist.storage import store as store_module
from uapfp_dist.storage.artifacts import TornArtifactError
from uapfp_dist.storage.store import Store, shared_store

TENSORS = {"a": torch.arange(600.0).reshape(2, 300), "b": torch.tensor([7, 8])}


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    """One server for all tests; each has a folder of its own."""
    with s3_server() as server:
        yield server


@pytest.fixture
def url(request: pytest.FixtureRequest, s3: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new folder in the bucket. Waits are short."""
    monkeypatch.setattr(filesystem, "OPENING_SECONDS", 0.05)
    monkeypatch.setattr(filesystem, "PATIENCE_SECONDS", 60.0)
    monkeypatch.setattr(filesystem, "PAUSES", (0.01, 0.5))
    monkeypatch.setattr(store_module, "MARKER_SECONDS", 0.3)
    return f"s3://{BUCKET}/{abs(hash(request.node.name))}"


@pytest.fixture
def store(url: str) -> Store:
    """With one artifact."""
    made = Store(url)
    made.put("model", "k", TENSORS, {"x": 1})
    return made


def bucket() -> s3fs.S3FileSystem:
    """The bucket as another program sees it."""
    return s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)


def test_round_trip(store: Store) -> None:
    found = Store(store.url).get("model", "k")
    assert found.info == {"x": 1}
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in TENSORS.items())
    store.discard("model", "k")
    store.discard("model", "k")
    assert not store.has("model", "k")
    with pytest.raises(FileNotFoundError):
        store.get("model", "k")


def test_a_large_artifact_in_parts(store: Store) -> None:
    """Above 100 MB the driver uploads in parts; it is there when the last one is."""
    tensor = torch.arange(26_300_000, dtype=torch.int32)
    store.put("model", "large", {"t": tensor}, {})
    assert torch.equal(store.get("model", "large").tensors["t"], tensor)


# --- what it costs


def test_requests_of_single_artifacts(store: Store, s3: S3) -> None:
    """One each, however it ends."""
    with s3.counting() as opened:
        Store(store.url)
    with s3.counting() as put:
        store.put("model", "new", TENSORS, {})
    with s3.counting() as whole:
        assert store.intact("model", "k")
    with s3.counting() as missing:
        assert not store.intact("model", "nothing")
    assert [len(found) for found in (opened, put, whole, missing)] == [1, 1, 1, 1]


def test_requests_of_a_resume(store: Store, s3: S3) -> None:
    """A listing per kind, a read for each artifact that is there, none for one that is not; then only listings."""
    for i in range(30):
        store.put("answers", str(i), {}, {"i": i})
    wanted = [("answers", str(i)) for i in range(100)] + [("model", "k"), ("probe", "p")]
    with s3.counting() as first:
        found = store.intact_among(wanted)
    assert found == {("answers", str(i)) for i in range(30)} | {("model", "k")}
    reads = [path for method, path in first if path.endswith(".safetensors")]
    assert len(reads) == 31
    assert len(first) - len(reads) <= 4, "of a folder that is not there the driver lists its parent too"
    with s3.counting() as second:
        assert store.intact_among(wanted) == found
    assert not [path for _, path in second if path.endswith(".safetensors")]
    with s3.counting() as third:
        assert store.has_among(wanted) == found
    assert len(third) == len(second), "as few as these"


def test_what_has_changed_is_read_again(store: Store, s3: S3) -> None:
    assert store.intact_among([("model", "k")])
    path = store.path("model", "k")
    bucket().pipe_file(path, bucket().cat_file(path)[:-4] + b"\0\0\0\0")
    assert not store.intact_among([("model", "k")])


# --- what goes wrong


@pytest.mark.parametrize("how", ["cut", "flipped", "empty"])
def test_a_torn_object_is_removed(how: str, store: Store) -> None:
    path = store.path("model", "k")
    raw = bytearray(bucket().cat_file(path))
    raw[-1] ^= 1
    bucket().pipe_file(path, {"cut": bytes(raw[:-9]), "flipped": bytes(raw), "empty": b""}[how])
    with pytest.raises(TornArtifactError, match="run again"):
        store.get("model", "k")
    assert not bucket().exists(path)


def test_a_torn_transfer_costs_no_artifact(store: Store, s3: S3) -> None:
    s3.cut = 1
    assert store.intact("model", "k")
    assert s3.cut == 0


@pytest.mark.parametrize("times", [1, 3, pytest.param(8, marks=pytest.mark.slow)])
def test_a_busy_server_is_tried_again(times: int, store: Store, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """More often than the driver itself does."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    again = fresh(store)
    s3.failing = times
    again.put("model", "new", TENSORS, {})
    s3.failing = times
    assert again.get("model", "new").info == {}
    assert again.intact_among([("model", "new"), ("model", "k")]) == {("model", "new"), ("model", "k")}


def fresh(store: Store) -> Store:
    """As a process that starts now would open it."""
    s3fs.S3FileSystem.clear_instance_cache()
    return Store(store.url)


def test_tries_are_bounded(store: Store, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    monkeypatch.setattr(filesystem, "PATIENCE_SECONDS", 1.0)
    again = fresh(store)
    s3.failing = 10_000
    with s3.counting() as requests, pytest.raises(OSError, match="busy"):
        again.get("model", "k")
    s3.failing = 0
    assert 2 <= len(requests) <= 30
    assert again.intact("model", "k"), "and nothing was removed"


class LibraryError(Exception):
    """Of a driver's library: none of Python's."""


@pytest.mark.parametrize("error", [OSError("busy"), LibraryError("no route")])
def test_an_outage_of_minutes_is_waited_for(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that sleeping moves. One that lasts comes to an end, as an error that may pass."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    store = Store("memory://outage")
    put, back = store._files._fs.pipe_file, now[0] + 300.0

    def away(*arguments: object) -> None:
        if now[0] < back:
            raise error
        put(*arguments)

    monkeypatch.setattr(store._files._fs, "pipe_file", away)
    store.put("model", "k", TENSORS, {})
    assert 300.0 <= now[0] < 330.0
    assert store.intact("model", "k")
    back = float("inf")
    with pytest.raises(OSError, match=str(error)):
        store.put("model", "other", TENSORS, {})
    assert now[0] < 1000.0


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], list[float]]:
    """Nothing answers for so many seconds, on a clock that sleeping moves; it starts at 0. Returns what was slept."""
    slept: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: sum(slept))
    monkeypatch.setattr(time, "sleep", slept.append)
    read = fsspec.implementations.memory.MemoryFileSystem.cat_file

    def from_now_on(seconds: float) -> list[float]:
        slept.clear()

        def cat_file(*arguments: object, **named: object) -> object:
            if sum(slept) < seconds:
                raise LibraryError("no route")
            return read(*arguments, **named)

        monkeypatch.setattr(fsspec.implementations.memory.MemoryFileSystem, "cat_file", cat_file)
        return slept

    return from_now_on


def test_an_address_that_does_not_answer_is_reported_soon(away: Callable[[float], list[float]]) -> None:
    """At the opening it may be misspelt."""
    slept = away(math.inf)
    with pytest.raises(UserError, match="no route"):
        Store("memory://away")
    assert 5.0 < sum(slept) < 15.0


def test_a_storage_that_the_driver_has_opened_is_waited_for(away: Callable[[float], list[float]]) -> None:
    """A worker or central actor that starts in an outage: the address is right, the job goes on after it."""
    marker = Store("memory://shared").write_marker()
    slept = away(40.0)
    assert shared_store("memory://shared", marker).has_marker(marker)
    assert sum(slept) < 80.0
    slept = away(math.inf)
    with pytest.raises(UserError, match="no route"):
        shared_store("memory://shared", marker)
    assert 60.0 < sum(slept) < 150.0, "but not for ever: a node may lack the credentials"


@pytest.mark.parametrize(
    ("place", "cause"),
    [("s3://no-such-bucket/x", "bucket"), ("s3://models-misspelt", "bucket")],
)
def test_a_misspelt_bucket_is_refused_and_not_made(place: str, cause: str, s3: S3, url: str) -> None:
    with pytest.raises(UserError, match=f"expected a folder that can be written .*{cause}") as error:
        Store(place)
    assert error.value.argument == "storage"
    assert bucket().ls("") == [BUCKET]


def test_a_server_that_is_not_there(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(UserError, match="expected a folder that can be written") as caught:
        Store(url)
    assert "\n" not in str(caught.value)
    s3fs.S3FileSystem.clear_instance_cache()


# --- many hosts


def test_what_another_host_writes_is_seen_at_once(store: Store) -> None:
    """Listings are not remembered."""
    assert not store.has("model", "theirs")
    assert store.intact_among([("model", "theirs")]) == set()
    bucket().cp_file(store.path("model", "k"), store.path("model", "theirs"))
    assert store.has("model", "theirs")
    bucket().rm_file(store.path("model", "k"))
    assert not store.has("model", "k")
    assert store.intact_among([("model", "k")]) == set()


def test_two_writers_and_a_reader(store: Store) -> None:
    errors: list[BaseException] = []

    def write() -> None:
        try:
            for _ in range(10):
                Store(store.url).put("model", "k", TENSORS, {"x": 1})
                assert store.get("model", "k").info == {"x": 1}
        except BaseException as error:
            errors.append(error)

    writers = [threading.Thread(target=write) for _ in range(3)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join(60)
    assert not errors
    assert not [name for name in bucket().find(store.root) if name.endswith(".tmp")]


def test_only_the_same_storage_shows_the_marker(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uapfp_dist.storage.store.MARKER_SECONDS", 0.3)
    marker = store.write_marker()
    assert Store(store.url).has_marker(marker)
    assert not Store(f"{store.url}-other").has_marker(marker)


@pytest.mark.slow
def test_an_evaluation_resumes_from_a_bucket(url: str, tmp_path: Path) -> None:
    """Copied there from a disk, one model and one answer torn on the way: these are made again, to the bit."""
    plan, local = tiny_plan(), Store(str(tmp_path / "s"))
    reference = run_here(plan, local)
    remote = Store(url)
    for kind in ("model", "probe", "answers"):
        bucket().put(f"{local.root}/{kind}/", f"{remote.root}/{kind}/", recursive=True)
    torn = remote.path("model", plan.members[3].spec.id), remote.path("answers", plan.response(plan.members[3]).id)
    for path in torn:
        bucket().pipe_file(path, bucket().cat_file(path)[:200])
    report = run_here(plan, remote)
    assert report.body.models == ModelCounts(trained=1, reused=13, failed=0)
    assert report.body.verdicts == reference.body.verdicts
