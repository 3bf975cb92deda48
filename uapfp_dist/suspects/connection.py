"""One HTTP request to one host, bounded in time and in size, by urllib3.

Its timeouts bound single reads, and each address of a host anew: a `Deadline` over the whole connection ends what
trickles. Nothing is retried, no redirect is followed, no proxy of the environment is used, and a connection serves one
request, so that a dropped one is never confused with an idle one.
"""

import contextlib
import hashlib
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util import make_headers, parse_url

from uapfp_dist.errors import UserError
from uapfp_dist.messages import one_line
from uapfp_dist.suspects.deadline import Deadline
from uapfp_dist.suspects.suspect import NothingSentError, TransientError

PLAIN, PACKED = ("", "identity"), ("gzip", "x-gzip", "deflate")
"""Encodings of a response; of the packed ones the limit is that of the unpacked bytes."""
CHUNK = 1 << 16


@dataclass(frozen=True)
class ConnectionConfig:
    """How a host is reached where the usual way does not lead there."""

    ca: Path | None = None
    """PEM file of certificates that are trusted beside the system's."""
    certificate: Path | None = None
    """PEM file of the client's certificate."""
    key: Path | None = None
    """PEM file of its key; None: it is in the same file."""
    proxy: str = ""
    """URL of an HTTP proxy, with a name and password where it wants them."""
    any_certificate: bool = False
    """The server's certificate may change."""


@dataclass(frozen=True)
class HttpReply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """By names in any case."""
    body: bytes
    late: bool
    """The time was over then: the body may be cut off."""


class Host:
    """A host that is sent requests.

    Args:
        name: of the host.
        port: of it.
        secure: by TLS.
        config: how it is reached.

    Raises:
        UserError: files that are no certificates, a proxy that is none.
    """

    def __init__(self, name: str, port: int, *, secure: bool, config: ConnectionConfig) -> None:
        self._name, self._port, self._secure, self._config = name, port, secure, config
        self._context = _context(config) if secure else None
        self._proxy = _proxy(config.proxy)
        self._lock = threading.Lock()
        self.certificate = ""
        """SHA-256 of the certificate that the server showed: another one is refused. Empty before, and without TLS."""

    def exchange(
        self, method: str, target: str, data: bytes | None, headers: Mapping[str, str], limit: int, timeout: float
    ) -> HttpReply:
        """Send a request, read the reply.

        Args:
            method: GET or POST.
            target: path and query string.
            data: the body.
            headers: of the request.
            limit: bytes of the reply, unpacked; a longer one is not read.
            timeout: seconds from the connection to the last byte; the look-up of the host name has the timeout of the
                operating system.

        Raises:
            TransientError: no connection or no reply.
            UserError: a certificate that is not valid or another than before, a reply that is too long or packed
                otherwise.
        """
        deadline = Deadline(timeout)
        connection = self._connection(deadline)
        try:
            self._connect(connection, deadline)
            if self._proxy and not self._secure:
                target = f"http://{_bracketed(self._name)}:{self._port}{target}"
                headers = {**headers, **self._proxy_headers()}
            try:
                # A server may refuse a long request before it has read all of it.
                with contextlib.suppress(BrokenPipeError):
                    connection.request(method, target, data, headers, preload_content=False)
                with contextlib.closing(connection.getresponse()) as response:
                    body = _read(response, limit)
            except (OSError, http.client.HTTPException, HTTPError, ValueError) as error:
                # A socket that was shut down looks like a lost connection, or like a shorter reply.
                late = deadline.caused(error)
                raise TransientError(f"no response within {timeout:.3g} s" if late else one_line(error)) from error
            return HttpReply(response.status, response.headers, body, deadline.expired)
        finally:
            deadline.cancel()
            connection.close()

    def _connection(self, deadline: Deadline) -> HTTPConnection:
        proxy = self._proxy
        host, port = (proxy.hostname or "", proxy.port or 80) if proxy else (self._name, self._port)
        if self._context is None:
            return _watched(HTTPConnection, deadline)(host, port, timeout=deadline.seconds)
        connection: HTTPSConnection = _watched(HTTPSConnection, deadline)(
            host,
            port,
            timeout=deadline.seconds,
            ssl_context=self._context,
            proxy=parse_url(self._config.proxy) if proxy else None,
        )
        if proxy:
            connection.set_tunnel(self._name, self._port, self._proxy_headers())
        return connection

    def _connect(self, connection: HTTPConnection, deadline: Deadline) -> None:
        """Nothing of the request is sent yet."""
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            raise NothingSentError(
                f"suspect {self._name}: its certificate is not valid ({one_line(error)}); nothing was sent; a private "
                "authority is named in ca",
                argument="at",
            ) from error
        except (OSError, http.client.HTTPException, HTTPError, ValueError) as error:
            reason = f"within {deadline.seconds:.3g} s" if deadline.caused(error) else f"({one_line(error)})"
            raise TransientError(f"no connection {reason}", sent=False) from error
        if isinstance(connection.sock, ssl.SSLSocket):
            self._check_certificate(connection.sock.getpeercert(binary_form=True) or b"")

    def _check_certificate(self, certificate: bytes) -> None:
        found = hashlib.sha256(certificate).hexdigest()
        with self._lock:
            if self.certificate in ("", found) or self._config.any_certificate:
                self.certificate = found
                return
        raise NothingSentError(
            f"suspect {self._name}: expected the certificate {self.certificate[:16]}... that its first answers came "
            f"under, got {found[:16]}...; nothing was sent to it, and what was answered is kept; if its operator says "
            "that it was renewed, allow any_certificate",
            argument="any_certificate",
        )

    def _proxy_headers(self) -> dict[str, str]:
        if not self._proxy or not self._proxy.username:
            return {}
        word = f"{unquote(self._proxy.username)}:{unquote(self._proxy.password or '')}"
        return {"Proxy-Authorization": make_headers(proxy_basic_auth=word)["proxy-authorization"]}


def _watched(kind: type[Any], deadline: Deadline) -> type[Any]:
    """urllib3's connection, with all its addresses and every byte under one deadline."""

    class Watched(kind):  # type: ignore[misc]
        def _new_conn(self) -> socket.socket:
            return _open_socket(self._dns_host, self.port, deadline)

    return Watched


def _open_socket(host: str, port: int, deadline: Deadline) -> socket.socket:
    """Connected to the first address that accepts."""
    failure = OSError("no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            deadline.watch(sock)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as error:
            sock.close()
            failure = error
    raise failure


def _read(response: Any, limit: int) -> bytes:
    """The body, of at most `limit` bytes when unpacked.

    Raises:
        UserError: it is longer, or packed otherwise.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in (*PLAIN, *PACKED):
        raise UserError(
            f"suspect: expected a plain response, got one packed by {one_line(encoding, 20)}, which was not requested"
        )
    too_long = UserError(
        f"suspect: expected a response of at most {limit:,} bytes, got a longer one, which was not read"
    )
    if (response.length_remaining or 0) > limit:
        raise too_long
    found = bytearray()
    while part := response.read(min(CHUNK, limit + 1 - len(found)), decode_content=encoding in PACKED):
        found += part
        if len(found) > limit:
            raise too_long
    return bytes(found)


def _context(config: ConnectionConfig) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        if config.ca is not None:
            context.load_verify_locations(config.ca.expanduser())
    except (OSError, ValueError) as error:
        raise UserError(
            f"ca: expected a PEM file of certificates at {config.ca} ({one_line(error)})", argument="ca"
        ) from error
    try:
        if config.certificate is not None:
            key = config.key.expanduser() if config.key else None
            # No prompt for a password in the middle of a run.
            context.load_cert_chain(config.certificate.expanduser(), key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise UserError(
            f"client_certificate: expected PEM files of a certificate and its key without a password at "
            f"{config.certificate} ({one_line(error)})",
            argument="client_certificate",
        ) from error
    if config.key is not None and config.certificate is None:
        raise UserError("client_key: expected client_certificate beside it; name both", argument="client_certificate")
    return context


def _proxy(url: str) -> Any:
    """The parts of a proxy's URL; None without one."""
    if not url:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if usable:
        return parts
    raise UserError("proxy: expected http://HOST:PORT, got something else; fix it", argument="proxy")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
