"""What a hostile suspect may do: redirect, flood, drip, hide code; nothing of it is opened."""

import io
import os
import pickle
import socket
import threading
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import faulty_server as faults
import pytest
import torch
from faulty_server import Exchange, serving
from safetensors.torch import save_file
from toy_kit import WIDTH, negative, responses_of, serve, trained
from toy_suspects import IMAGES, SHAPE, query

from uapfp_dist.errors import UserError
from uapfp_dist.models.custom import CustomNet
from uapfp_dist.suspects.config import SuspectConfig, describe_suspect
from uapfp_dist.suspects.endpoint import Endpoint
from uapfp_dist.suspects.registry import open_suspect
from uapfp_dist.suspects.request_template import json_body
from uapfp_dist.suspects.suspect import TooLargeError, TransientError


@pytest.mark.parametrize(
    "at",
    ["file:///etc/passwd", "ftp://host/x", "gopher://host", "http://", "http://user:word@host/", "http://host:99999/"],
)
def test_nothing_but_http_is_opened(at: str) -> None:
    with pytest.raises(UserError, match="suspect") as caught:
        open_suspect(SuspectConfig(at=at), SHAPE, 10)
    assert "word" not in str(caught.value).replace("password", "")


def test_redirects_are_not_followed() -> None:
    with serving(serve(trained(0))) as other, serving(serve(trained(0)), faults.redirect_to(other.url)) as endpoint:
        with pytest.raises(UserError, match="redirect"):
            query(SuspectConfig(at=endpoint.url))
        assert other.requests == 0


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with serving(serve(trained(0))) as endpoint:
        query(SuspectConfig(at=endpoint.url))


@pytest.mark.parametrize("fault", [faults.endless, faults.promised_endless])
def test_a_response_of_10_gb_is_not_read(fault: Any) -> None:
    with serving(serve(trained(0)), fault) as endpoint, pytest.raises(UserError, match="longer one"):
        query(SuspectConfig(at=endpoint.url))


@pytest.mark.parametrize(
    ("status", "body", "headers", "error", "message"),
    [
        (400, b"\x1b[31mwrong shape\nsecond line", {}, UserError, "got 400 .*wrong shape"),
        (401, b"", {}, UserError, "got 401"),
        (413, b"", {}, TooLargeError, "413"),
        (413, b"at most 1 MB", {}, TooLargeError, "at most 1 MB"),
        (503, b"", {"Retry-After": "7"}, TransientError, "503"),
        (500, b"", {}, TransientError, "500"),
        (522, b"", {}, TransientError, "522"),
        (529, b"", {}, TransientError, "529"),
        (501, b"", {}, UserError, "got 501"),
        (600, b"", {}, UserError, "got 600"),
        (200, b'{"predictions": [1]}', {}, TransientError, "expected 7 responses, got 1"),
        (200, b"[" * 100_000, {}, TransientError, "no JSON"),
        (200, b'{"predictions": ' + b"[" * 900 + b"]" * 900 + b"}", {}, TransientError, "nested more than"),
        (200, b'{"predictions": 3}', {}, TransientError, "got int"),
        (200, b'{"predictions": {}}', {}, TransientError, "got dict"),
        (200, b'{"predictions": {"y": [1]}}', {}, TransientError, "expected 7 responses, got 1"),
        (200, b"\x1f\x8b", {"Content-Encoding": "gzip"}, TransientError, "no JSON"),
    ],
)
def test_replies_of_endpoints(status: int, body: bytes, headers: dict[str, str], error: Any, message: str) -> None:
    def fault(exchange: Exchange) -> bool:
        exchange.send(status, body, headers)
        return True

    with serving(serve(trained(0)), fault) as endpoint, pytest.raises(error, match=message) as caught:
        query(SuspectConfig(at=endpoint.url))
    assert str(caught.value).isprintable()
    assert getattr(caught.value, "retry_after", None) == (7.0 if "Retry-After" in headers else None)


def test_a_refusal_before_the_request_is_read_leads_to_smaller_requests() -> None:
    """Only the headers are read, the rest fits into no buffer: whether the client sees the refusal depends on luck."""
    server = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        line, _ = server.accept()
        line.recv(1000)
        line.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        line.shutdown(socket.SHUT_RD)
        time.sleep(0.3)
        line.close()

    thread = threading.Thread(target=refuse, daemon=True)
    thread.start()
    endpoint = Endpoint(f"http://127.0.0.1:{server.getsockname()[1]}", {})
    with pytest.raises((TooLargeError, TransientError)):
        endpoint.post(json_body(["0" * 1000] * 20_000), "/", 1, 5.0)
    thread.join(5)
    server.close()


@pytest.mark.parametrize("drip", [b"", b"\x16\x03\x03\x40\x00" + b"\x02\x00\x3f\xfc" + bytes(5000)])
def test_an_endless_handshake_is_ended_in_time(drip: bytes) -> None:
    """A server that accepts the connection and sends nothing, or a byte of the handshake now and then."""
    server, over = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def hold() -> None:
        line, _ = server.accept()
        with line, suppress(OSError):
            for i in range(len(drip)):
                if over.wait(0.02):
                    return
                line.sendall(drip[i : i + 1])
            over.wait(20)

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    started = time.monotonic()
    with pytest.raises(TransientError, match=r"no connection within 0\.6 s") as caught:
        Endpoint(f"https://127.0.0.1:{server.getsockname()[1]}", {}).post(json_body([]), "/", 1, 0.6)
    assert 0.5 < time.monotonic() - started < 2.0
    assert not caught.value.sent
    over.set()
    thread.join(5)
    server.close()


def test_all_addresses_share_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with many addresses that accept no connection: a queue of one that is full."""
    server = socket.create_server(("127.0.0.1", 0), backlog=0)
    address = server.getsockname()
    waiting = [socket.socket() for _ in range(4)]
    for line in waiting:
        line.setblocking(False)
        line.connect_ex(address)
    one = (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: [one] * 9)
    started = time.monotonic()
    with pytest.raises(TransientError, match=r"no connection within 0\.4 s"):
        Endpoint("http://many.example", {}).post(json_body([]), "/", 1, 0.4)
    assert time.monotonic() - started < 2.0
    for line in (*waiting, server):
        line.close()


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def bombs(where: Path) -> dict[str, bytes]:
    """Pickles: plain, as torch saves them, in a zip."""
    saved = io.BytesIO()
    torch.save({"w": Bomb(where)}, saved)
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(where)))
    plain = [pickle.dumps(Bomb(where), protocol) for protocol in (0, 2, 5)]
    return {"0": plain[0], "2": plain[1], "5": plain[2], "torch": saved.getvalue(), "zip": zipped.getvalue()}


@pytest.mark.parametrize("suffix", ["pt", "pkl", "safetensors", "bin", "onnx"])
def test_no_code_of_a_suspect_is_executed(suffix: str, tmp_path: Path) -> None:
    """A pickle with any suffix is refused and not loaded."""
    marker = tmp_path / "executed"
    own: dict[str, Any] = {} if suffix == "onnx" else {"architecture": "A", "width": WIDTH}
    for name, data in bombs(marker).items():
        path = tmp_path / f"{name}.{suffix}"
        path.write_bytes(data)
        with pytest.raises(UserError, match="ONNX" if suffix == "onnx" else "never opened") as caught:
            open_suspect(SuspectConfig(at=str(path), **own), SHAPE, 10)
        assert "\n" not in str(caught.value)
    assert not marker.exists()
    pickle.loads(bombs(marker)["5"])
    assert marker.exists(), "the pickle does execute code"


def test_weights_of_another_net_are_refused(tmp_path: Path) -> None:
    net = negative()
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, tmp_path / "net.safetensors")
    config = SuspectConfig(at=str(tmp_path / "net.safetensors"), architecture="A", width=WIDTH)
    for other in ({"architecture": "B"}, {"width": WIDTH + 1}, {"architecture": ""}, {"architecture": "no-such"}):
        with pytest.raises(UserError) as caught:
            open_suspect(SuspectConfig(**{**vars(config), **other}), SHAPE, 10)
        assert "\n" not in str(caught.value)
    whole = (tmp_path / "net.safetensors").read_bytes()
    for cut in (0, 5, 100, len(whole) - 1):
        (tmp_path / "net.safetensors").write_bytes(whole[:cut])
        with pytest.raises(UserError, match="safetensors"):
            open_suspect(config, SHAPE, 10)


def test_weights_of_the_users_own_code(tmp_path: Path) -> None:
    """By import path, as an owner's model: the state_dict of the module, or of the net in a storage."""
    net = CustomNet("owners_net:make", SHAPE, 10).eval()
    local = responses_of(net, IMAGES)
    for name, module in (("module", net.module), ("stored", net)):
        save_file({k: v.contiguous() for k, v in module.state_dict().items()}, tmp_path / f"{name}.safetensors")
        config = SuspectConfig(at=str(tmp_path / f"{name}.safetensors"), architecture="owners_net:make")
        assert config.protocol == "weights"
        assert torch.equal(query(config), local)
        assert describe_suspect(config)["architecture"] == "owners_net:make"
    for path, message in (
        ("nobody:make", "import path"),
        ("owners_net:nothing", "import path"),
        ("owners_net:make_nothing", "torch module"),
        ("owners_net:make_trouble", "ZeroDivisionError"),
        ("torch.nn:Identity", "expected the weights of|TypeError"),
        ("owners_net:make_wide", "has the shape 10, not 11"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            open_suspect(SuspectConfig(**{**vars(config), "architecture": path}), SHAPE, 10)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="does not take images"):
        query(config, torch.zeros(2, 1, 9, 9, dtype=torch.uint8))


def test_a_function_of_the_user() -> None:
    for at, message in (
        ("no_such_module:f", "module:name"),
        ("toy_suspects:nothing", "module:name"),
        ("json:__name__", "function"),
    ):
        with pytest.raises(UserError, match=message):
            open_suspect(SuspectConfig(at=at, kind="python"), SHAPE, 10)
    with pytest.raises(UserError, match="one response for each of 7"):
        open_suspect(SuspectConfig(at="toy_suspects:too_few"), SHAPE, 10).query(IMAGES, 1.0)
    with pytest.raises(UserError, match="ZeroDivisionError"):
        open_suspect(SuspectConfig(at="toy_suspects:broken"), SHAPE, 10).query(IMAGES, 1.0)
