"""An endpoint with MLflow's scoring protocol and faults on demand."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

Model = Callable[[np.ndarray], Any]
"""Images as received to a list of responses."""
Fault = Callable[["Exchange"], bool]
"""Sees a request before its response; True: it has handled it."""


@dataclass
class Endpoint:
    """The server's behaviour, with counts of what it received."""

    model: Model
    fault: Fault | None = None
    metadata: bool = False
    """Its fault answers GET requests, too."""
    requests: int = 0
    images: int = 0
    """Images of complete requests."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""
    freed: threading.Event = field(default_factory=threading.Event)
    """Set at the end of the test: faults that hang stop."""


@dataclass
class Exchange:
    """One request and the means to respond."""

    handler: BaseHTTPRequestHandler
    endpoint: Endpoint
    number: int
    """From 1."""
    images: np.ndarray
    """Of shape (0,) for a GET."""
    path: str
    tensor: Any = None
    """As it came, by the Open Inference Protocol."""

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None) -> None:
        """A response, with a wrong length if one is given."""
        with suppress(OSError):
            self.handler.send_response(status)
            for name, value in (headers or {}).items():
                self.handler.send_header(name, value)
            self.handler.send_header("Content-Length", str(len(body) if length is None else length))
            self.handler.end_headers()
            self.handler.wfile.write(body)

    def predictions(self) -> bytes:
        """The body of the correct response."""
        return json.dumps({"predictions": self.endpoint.model(self.images)}).encode()

    def reset(self) -> None:
        """Close the connection with a reset."""
        self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.handler.close_connection = True
        self.handler.connection.close()


def _images(inputs: list[Any]) -> np.ndarray:
    """MLflow's nested lists, or the one tensor of the Open Inference Protocol."""
    if isinstance(inputs[0], dict):
        return np.array(inputs[0]["data"]).reshape(inputs[0]["shape"])
    return np.array(inputs)


class _Handler(BaseHTTPRequestHandler):
    endpoint: Endpoint

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        inputs = json.loads(raw)["inputs"]
        images = _images(inputs)
        with self.endpoint.lock:
            self.endpoint.requests += 1
            self.endpoint.images += len(images)
            exchange = Exchange(self, self.endpoint, self.endpoint.requests, images, self.path, inputs[0])
        if self.endpoint.fault is None or not self.endpoint.fault(exchange):
            exchange.send(200, exchange.predictions())

    def do_GET(self) -> None:
        """Metadata, if a fault gives them."""
        exchange = Exchange(self, self.endpoint, 0, np.zeros(0), self.path)
        wanted = "/v2/models/" in self.path and self.endpoint.metadata
        if not wanted or self.endpoint.fault is None or not self.endpoint.fault(exchange):
            exchange.send(404, b"")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: connections are closed on purpose."""


@contextmanager
def serving(
    model: Model,
    fault: Fault | None = None,
    port: int = 0,
    endpoint: Endpoint | None = None,
    *,
    metadata: bool = False,
) -> Iterator[Endpoint]:
    """A server on loopback during the block."""
    found = endpoint or Endpoint(model, fault, metadata)
    server = _Server(("127.0.0.1", port), type("Handler", (_Handler,), {"endpoint": found}))
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.freed.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


def every_third_dropped(exchange: Exchange) -> bool:
    """A reset instead of the third, sixth, ... response."""
    if exchange.number % 3:
        return False
    exchange.reset()
    return True


def busy_at_first(n: int, after: str = "0") -> Fault:
    """429 to the first n requests."""

    def fault(exchange: Exchange) -> bool:
        if exchange.number <= n:
            exchange.send(429, b"{}", {"Retry-After": after})
        return exchange.number <= n

    return fault


def at_first(n: int, fault: Fault) -> Fault:
    """A fault that ends after n requests."""
    return lambda exchange: exchange.number <= n and fault(exchange)


def hanging(exchange: Exchange) -> bool:
    """No response."""
    exchange.endpoint.freed.wait(60)
    return True


def dripping(exchange: Exchange) -> bool:
    """A byte now and then: no single read times out."""
    return _drip(exchange, b"HTTP/1.0 200 OK\r\nContent-Length: 100000\r\n\r\n", b" ")


def dripping_headers(exchange: Exchange) -> bool:
    """The same before the body begins."""
    return _drip(exchange, b"HTTP/1.0 200 OK\r\nX-A: ", b"a")


def _drip(exchange: Exchange, start: bytes, drop: bytes) -> bool:
    with suppress(OSError):
        exchange.handler.wfile.write(start)
        while not exchange.endpoint.freed.wait(0.05):
            exchange.handler.wfile.write(drop)
            exchange.handler.wfile.flush()
    return True


def truncated(exchange: Exchange) -> bool:
    """Half of the JSON with the length of that half."""
    body = exchange.predictions()
    exchange.send(200, body[: len(body) // 2])
    return True


def cut_short(exchange: Exchange) -> bool:
    """Half of the bytes that the header announces."""
    body = exchange.predictions()
    exchange.send(200, body[: len(body) // 2], length=len(body))
    exchange.reset()
    return True


def too_large(limit: int) -> Fault:
    """413 to more than `limit` images."""

    def fault(exchange: Exchange) -> bool:
        if len(exchange.images) > limit:
            exchange.send(413, b"")
        return len(exchange.images) > limit

    return fault


def endless(exchange: Exchange) -> bool:
    """10 GB without a length, as long as the client reads."""
    with suppress(OSError):
        exchange.handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n[")
        for _ in range(10_000):
            exchange.handler.wfile.write(b"0," * 500_000)
    return True


def promised_endless(exchange: Exchange) -> bool:
    """10 GB by the header."""
    exchange.send(200, b"[", length=10_000_000_000)
    return True


def redirect_to(url: str) -> Fault:
    """307 to another URL."""

    def fault(exchange: Exchange) -> bool:
        exchange.send(307, b"", {"Location": url})
        return True

    return fault
