"""An HTTP proxy on loopback: CONNECT and absolute addresses, with a password if one is given."""

import base64
import http.client
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Proxy:
    """What it was asked for."""

    password: str = ""
    """`name:word` that it wants."""
    url: str = ""
    asked: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy

    def do_CONNECT(self) -> None:
        if not self._known():
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as there:
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                self._copy(there)

    def do_POST(self) -> None:
        if not self._known():
            return
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        line = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=10)
        headers = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
        line.request("POST", parts.path, body, headers)
        reply = line.getresponse()
        found = reply.read()
        self.send_response(reply.status)
        self.send_header("Content-Length", str(len(found)))
        self.end_headers()
        self.wfile.write(found)
        line.close()

    def _known(self) -> bool:
        self.proxy.asked.append(self.path)
        word = base64.b64encode(self.proxy.password.encode()).decode()
        if self.proxy.password and self.headers["Proxy-Authorization"] != f"Basic {word}":
            self.send_response(407)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return False
        return True

    def _copy(self, there: socket.socket) -> None:
        here = self.connection
        while True:
            ready, _, _ = select.select([here, there], [], [], 10)
            for one in ready:
                if not (data := one.recv(1 << 16)):
                    return
                (there if one is here else here).sendall(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing."""


@contextmanager
def proxying(password: str = "") -> Iterator[Proxy]:
    """A proxy during the block."""
    found = Proxy(password)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": found}))
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
