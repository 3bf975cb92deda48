"""The object store by which random deaths are counted: gone for a while, it has its objects."""

import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from faults.counting import read_journal
from system import ROOT, free_ports, wait_until

HEADERS = {"Content-Type": "x/x", "Authorization": "AWS none:none"}


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]", list[str]]]:
    """The server's address, its front, and the front's command."""
    front_port, port = map(str, free_ports(2))
    script = [sys.executable, str(ROOT / "jobs" / "faults" / "s3_server.py")]
    front = [*script, "front", "127.0.0.1", front_port, port]
    started = [
        subprocess.Popen([*script, "objects", port, str(tmp_path / "journal")], stderr=subprocess.DEVNULL),
        subprocess.Popen(front, stderr=subprocess.DEVNULL),
    ]
    try:
        for each in (port, front_port):
            wait_until(lambda each=each: listens(int(each)), 60.0, "the server")  # type: ignore[misc]
        yield f"http://127.0.0.1:{front_port}", started[1], front
    finally:
        for process in started:
            process.kill()
            process.wait(timeout=30)


def listens(port: int) -> bool:
    """Whether anything does there."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5.0):
        return True
    return False


def put(url: str, data: bytes = b"") -> None:
    """Store an object."""
    with urllib.request.urlopen(
        urllib.request.Request(url, data, {"Content-Type": "x/x"}, method="PUT"), timeout=30
    ) as answer:
        assert answer.status == 200


def test_a_server_that_was_gone_has_its_objects(
    servers: tuple[str, "subprocess.Popen[bytes]", list[str]], tmp_path: Path
) -> None:
    url, front, command = servers
    put(f"{url}/bucket")
    put(f"{url}/bucket/run-1/model/a.safetensors", b"abc")
    front.kill()
    front.wait(timeout=30)
    with pytest.raises(urllib.error.URLError):
        put(f"{url}/bucket/run-1/model/b.safetensors")
    again = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(int(url.rsplit(":", 1)[1])), 60.0, "the front")
        stored = urllib.request.Request(f"{url}/bucket/run-1/model/a.safetensors", headers=HEADERS)
        with urllib.request.urlopen(stored, timeout=30) as answer:
            assert answer.read() == b"abc"
    finally:
        again.kill()
        again.wait(timeout=30)
    assert [one.spec for one in read_journal(tmp_path / "journal", "bucket/run-1")] == ["model/a"]
