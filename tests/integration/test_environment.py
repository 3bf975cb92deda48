"""What is left over in the environment: the right behaviour, or an error that names its cause."""

import errno
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ray._private.utils import validate_socket_filepath
from system import free_ports

from uapfp_dist.cluster import address, temp_folder
from uapfp_dist.cluster.session import ClusterResources, session
from uapfp_dist.command import main
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.data import load
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.launch.workers import default_auth_mode, ray_pool
from uapfp_dist.progress import Progress
from uapfp_dist.storage.store import Store

SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How an HTTP/2 server begins."""
NAMES = ("RAY_ADDRESS", "RAY_TMPDIR", "TMPDIR", "UAPFP_STORAGE", "UAPFP_DATA", "CUDA_VISIBLE_DEVICES")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of whoever runs the tests; a silent or absent server is noticed soon."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(address, "CONNECT_SECONDS", 0.5)


@contextmanager
def listening(words: bytes) -> Iterator[str]:
    """HOST:PORT of a server that says the same to everybody, and then nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept = []

        def serve() -> None:
            while True:
                try:
                    kept.append(server.accept()[0])
                except OSError:
                    return
                kept[-1].sendall(words)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    for connection in kept:
        connection.close()


def no_session(given: str | None) -> str:
    """The one line that says why there is no Ray, within seconds."""
    started = time.monotonic()
    with pytest.raises(UserError) as caught, session(given):
        pass
    assert time.monotonic() - started < 5.0
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- Ray's address


@contextmanager
def dead() -> Iterator[str]:
    """An address where nothing listens."""
    yield f"127.0.0.1:{free_ports(1)[0]}"


@pytest.mark.parametrize("scheme", ["", "ray://"])
@pytest.mark.parametrize(
    ("server", "cause"),
    [
        (dead, "refused"),
        (lambda: listening(b""), "no answer within 0.5 s"),
        (lambda: listening(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "is not Ray"),
    ],
    ids=["dead", "silent", "other"],
)
def test_an_address_without_a_cluster(
    server: Callable[..., object], cause: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left over in the environment, the line names the variable; given as an argument, it does not."""
    with server() as where:  # type: ignore[attr-defined]
        given = scheme + where
        said = no_session(given)
        assert given in said
        assert cause in said
        assert "leave it out to run here" in said
        assert "RAY_ADDRESS" not in said
        monkeypatch.setenv("RAY_ADDRESS", given)
        said = no_session(None)
        assert f"RAY_ADDRESS={given} is set" in said
        assert cause in said
        assert "unset RAY_ADDRESS to run here, or name another address" in said


def test_the_address_of_a_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of `ray job submit`, in the same variable."""
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    said = no_session(None)
    assert "the form of a dashboard" in said
    assert "unset RAY_ADDRESS" in said


def test_a_cluster_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**options: object) -> None:
        raise RuntimeError(
            "Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.9.1\n"
            "This process on node 10.0.0.1 was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
        )

    monkeypatch.setattr("ray.init", init)
    with listening(SETTINGS) as where:
        monkeypatch.setenv("RAY_ADDRESS", where)
        said = no_session(None)
    assert all(word in said for word in ("RAY_ADDRESS", "Ray: 2.9.0 Python: 3.9.1", "Ray: 2.60.0 Python: 3.11.7"))


def test_ray_that_does_not_start_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that is busy with much else; Ray raises a bare exception."""

    def init(**options: object) -> None:
        raise Exception("The current node timed out during startup.\nThis could happen")

    monkeypatch.setattr("ray.init", init)
    said = no_session("local")
    assert said == (
        "ray: expected to start on this machine, could not (The current node timed out during startup. This could "
        "happen); try again when it is less busy, or --workers 0"
    )


def test_ray_here_whatever_the_variable_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """`local` is Ray's word for a cluster of one's own; it needs no token."""
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert address.chosen_address("local") == address.Address(None)
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert address.chosen_address(None) == address.Address(None)
    default_auth_mode(None)
    assert os.environ.pop("RAY_AUTH_MODE") == "disabled"


# --- Ray's folder


@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR"])
def test_a_folder_whose_sockets_have_too_long_names(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longest that Ray takes is taken; the next one is refused with its length, and the variable to set."""
    monkeypatch.setattr("ray.init", lambda **options: pytest.fail("Ray was started"))
    monkeypatch.setenv(variable, str(tmp_path / ("x" * 100)))
    said = no_session(None)
    assert said.startswith(f"{variable}: expected a path of at most ")
    assert "set RAY_TMPDIR to a shorter one" in said
    most = int(said.split("at most ")[1].split(" ")[0])
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        longest = f"{short}/{'x' * (most - len(short) - 1)}"
        monkeypatch.setenv(variable, longest)
        temp_folder.check_temp_folder()
    last = f"/ray/session_2026-01-01_00-00-00_000000_{os.getpid()}/sockets/plasma_store"
    validate_socket_filepath(longest + last)
    with pytest.raises(OSError, match="AF_UNIX"):
        validate_socket_filepath(f"{longest}x{last}")


def full(*arguments: object, **options: object) -> None:
    """A disk without room."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        Path(short, "file").touch()
        monkeypatch.setenv("RAY_TMPDIR", f"{short}/file")
        said = no_session(None)
        assert said.startswith("RAY_TMPDIR: expected a folder")
        assert "Not a directory" in said
        monkeypatch.setenv("RAY_TMPDIR", short)
        monkeypatch.setattr(tempfile, "TemporaryFile", full)
        assert "No space left on device" in no_session(None)


def test_gpus_that_a_variable_hides(digits_plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    runtime = RuntimeConfig(storage=str(tmp_path), gpus_per_worker=1.0)
    pool = ray_pool(
        ClusterResources(2, 0.0, elastic=False),
        runtime,
        resolve(runtime),
        Store(str(tmp_path)),
        digits_plan.data,
        Progress(workers=1),
    )
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES='' hides all of them"), pool:
        pass


# --- folders


def line(job: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command that is refused says."""
    with pytest.raises(SystemExit) as end:
        main(job)
    assert end.value.code == 2
    (said,) = capsys.readouterr().err.splitlines()
    return str(said)


def test_folders_that_come_from_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line names the variable, unless the option was given."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("UAPFP_STORAGE", f"{tmp_path}/file")
    monkeypatch.setenv("UAPFP_DATA", f"{tmp_path}/none")
    jobs = {
        "UAPFP_STORAGE": lambda: Store(resolve(RuntimeConfig()).storage),
        "UAPFP_DATA": lambda: load("imagefolder", resolve(RuntimeConfig()).data_root, None),
    }
    for variable, job in jobs.items():
        monkeypatch.setattr(sys, "argv", ["job"])
        assert f"({variable}={os.environ[variable]} is set: change or unset it, or use" in line(job, capsys)
    monkeypatch.setattr(sys, "argv", ["job", f"--storage={tmp_path}/file"])
    assert line(jobs["UAPFP_STORAGE"], capsys).endswith(" (option --storage)")


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TMPDIR", "/somewhere/full")
    said = line(full, capsys)
    assert "No space left on device" in said
    assert "TMPDIR (now /somewhere/full)" in said
