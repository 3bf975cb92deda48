"""A real S3-compatible server in this process that counts what it is asked, and fails or garbles answers on request."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import s3fs
from moto.server import ThreadedMotoServer

BUCKET = "models"
BUSY = b"<?xml version='1.0'?><Error><Code>ServiceUnavailable</Code><Message>busy</Message></Error>"
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class S3:
    """The server. `requests` are (method, path); `failing` says how many of the next ones it is too busy for."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._lock = threading.Lock()
        self.requests: list[tuple[str, str]] = []
        self.failing = 0
        self.cut = 0
        """How many of the next artifacts are sent with their last bytes changed."""

    def start(self) -> str:
        """Its address."""
        self._server.start()
        inner: Any = self._server._server
        inner.app = self._watching(inner.app)
        host, port = self._server.get_host_and_port()
        return f"http://{host}:{port}"

    def stop(self) -> None:
        """No more answers."""
        self._server.stop()

    def _watching(self, app: Wsgi) -> Wsgi:
        def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            with self._lock:
                self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
                busy, self.failing = self.failing > 0, max(0, self.failing - 1)
            if busy:
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start("503 Service Unavailable", [("Content-Type", "text/xml"), ("Content-Length", str(len(BUSY)))])
                return [BUSY]
            body = app(environ, start)
            if self.cut and environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"].endswith(".safetensors"):
                self.cut -= 1
                whole = b"".join(body)
                return [whole[:-8] + bytes(8 * [0xA5])]
            return body

        return answer

    @contextmanager
    def counting(self) -> Iterator[list[tuple[str, str]]]:
        """The requests of a block."""
        first = len(self.requests)
        found: list[tuple[str, str]] = []
        yield found
        found += self.requests[first:]


@contextmanager
def s3_server() -> Iterator[S3]:
    """A server with one bucket; the environment names it, as a user's would."""
    server = S3()
    names = {"AWS_ACCESS_KEY_ID": "user", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    names |= {"AWS_ENDPOINT_URL": server.start(), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        try:
            s3fs.S3FileSystem().mkdir(BUCKET)
            yield server
        finally:
            server.stop()
            s3fs.S3FileSystem.clear_instance_cache()
