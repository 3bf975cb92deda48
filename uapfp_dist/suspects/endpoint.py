"""POST requests to an untrusted endpoint: bounded in time and in size, to one host alone.

By the client of the standard library: it follows no redirect, uses no proxy and unpacks no compression. A connection
serves one request, so that a dropped one is never confused with an idle one.
"""

import contextlib
import http.client
import json
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from uapfp_dist.errors import UserError
from uapfp_dist.messages import one_line
from uapfp_dist.suspects.deadline import Deadline
from uapfp_dist.suspects.secrets import header_value, redact, redactable, unescape_json
from uapfp_dist.suspects.suspect import RefusedInputError, TooLargeError, TransientError

RETRYABLE_STATUSES = (408, 425, 429)
"""HTTP statuses below 500 after which a retry may help."""
PERMANENT_STATUSES = (501, 505)
"""HTTP statuses from 500 on after which no retry helps."""
REFUSALS = (400, 406, 415, 422)
"""HTTP statuses of a server that does not take what it was sent."""
NOTHING_THERE = (400, 404, 405, 501)
"""HTTP statuses of a server that does not know what is asked for."""
BASE_BYTES, BYTES_PER_IMAGE = 1 << 20, 1 << 16
"""Most bytes of a reply: the first and, for every image, the second (a thousand classes take 20 kB)."""
MAX_DEPTH = 20
"""Of nested lists and objects in a reply."""


class Endpoint:
    """A URL to which JSON is posted.

    Args:
        url: http or https.
        headers: name to value; a value `env:NAME` is read from the environment and written into no file.

    Raises:
        UserError: another kind of URL, credentials in it, an environment variable that is not set.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise UserError(f"suspect: expected a URL ({error}); fix it", argument="at") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(
                f"suspect {url.partition('?')[0]!r}: expected http:// or https:// and a host; nothing else is opened",
                argument="at",
            )
        if parts.username or parts.password:
            raise UserError(
                "suspect: expected a URL without a password; use a header with a value env:NAME", argument="headers"
            )
        self.url = url.partition("?")[0]  # of messages and transcripts; the query string may hold a key
        self._host, self._secure = parts.hostname, parts.scheme == "https"
        self._port = port or (443 if self._secure else 80)
        self.path = parts.path
        self._query = f"?{parts.query}" if parts.query else ""
        self._headers = {name: header_value(name, value) for name, value in headers.items()}
        secrets = [self._headers[name] for name, value in headers.items() if value.startswith("env:")]
        self._header_secrets = redactable(part for text in secrets for part in text.split())
        values = [pair.partition("=")[2] or pair for pair in parts.query.split("&")]
        self._secrets = redactable([*self._header_secrets, *values, *map(unquote_plus, values)])

    def post(self, body: object, path: str, n_images: int, timeout: float) -> Any:
        """The JSON value that comes back.

        Args:
            body: a JSON value.
            path: on the host.
            n_images: in the body; bounds the size of the reply.
            timeout: seconds from the connection to the last byte; the look-up of the host name has the timeout of the
                operating system.

        Raises:
            TransientError, TooLargeError, UserError: see `Suspect.query`.
        """
        text, late = self._exchange("POST", json.dumps(body).encode(), path, n_images, timeout)
        try:
            return self._json(text)
        except ValueError as error:
            raise TransientError(f"no response within {timeout:.3g} s" if late else str(error)) from error

    def get(self, path: str, timeout: float) -> Any:
        """The JSON value at a path; None where the server has none there.

        Raises:
            TransientError, UserError: see `Suspect.query`; no image was sent.
        """
        try:
            text, _ = self._exchange("GET", None, path, 0, timeout)
            return self._json(text)
        except ValueError:
            return None
        except TransientError as error:
            raise TransientError(str(error), sent=False, retry_after=error.retry_after) from error

    def _exchange(
        self, method: str, data: bytes | None, path: str, n_images: int, timeout: float
    ) -> tuple[bytes, bool]:
        """(body of the reply, empty where there is nothing to GET; whether the time was over then)."""
        deadline = Deadline(timeout)
        connection = self._connect(deadline)
        try:
            headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", "Connection": "close"}
            # A server may refuse a long request before it has read all of it.
            with contextlib.suppress(BrokenPipeError):
                connection.request(method, path + self._query, data, {**headers, **self._headers})
            with connection.getresponse() as http_response:
                text = _read(http_response, BASE_BYTES + BYTES_PER_IMAGE * n_images)
                if method == "GET" and http_response.status in NOTHING_THERE:
                    return b"", False
                self._check_status(http_response, text, n_images)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # A socket that was shut down looks like a lost connection, or like a shorter reply.
            late = deadline.caused(error)
            raise TransientError(f"no response within {timeout:.3g} s" if late else one_line(error)) from error
        finally:
            deadline.cancel()
            connection.close()
        return text, deadline.expired

    def _json(self, text: bytes) -> Any:
        try:
            reply = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"a response that is no JSON ({one_line(error)})") from error
        if _is_deep(reply):
            raise ValueError(f"a response nested more than {MAX_DEPTH} deep")
        return self._redacted(reply)

    def _redacted(self, value: Any) -> Any:
        """A JSON value without the secrets that an endpoint may send back: responses are written to files.

        A value of the query string may be an ordinary word: keys lose only the secrets of the headers.
        """
        if isinstance(value, str):
            return redact(value, self._secrets)
        if isinstance(value, list):
            return [self._redacted(item) for item in value] if self._secrets else value
        if isinstance(value, dict):
            return {redact(key, self._header_secrets): self._redacted(item) for key, item in value.items()}
        return value

    def _connect(self, deadline: Deadline) -> http.client.HTTPConnection:
        context = ssl.create_default_context() if self._secure else None
        connection = (
            http.client.HTTPSConnection(self._host, self._port, context=context)
            if context
            else http.client.HTTPConnection(self._host, self._port)
        )
        try:
            connection.sock = self._open_socket(deadline)
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context:
                # Watched before the handshake, which may come a byte at a time.
                connection.sock = context.wrap_socket(
                    connection.sock, server_hostname=self._host, do_handshake_on_connect=False
                )
                deadline.watch(connection.sock)
                connection.sock.do_handshake()
        except ssl.SSLCertVerificationError as error:
            deadline.cancel()
            connection.close()
            raise UserError(
                f"suspect {self.url}: its certificate is not valid ({one_line(error)}); nothing was sent", argument="at"
            ) from error
        except (OSError, ValueError) as error:
            deadline.cancel()
            connection.close()
            reason = f"within {deadline.seconds:.3g} s" if deadline.caused(error) else f"({one_line(error)})"
            raise TransientError(f"no connection {reason}", sent=False) from error
        return connection

    def _open_socket(self, deadline: Deadline) -> socket.socket:
        """Connected to the first address that accepts; all of them share the deadline."""
        failure = OSError("no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM):
            sock = socket.socket(family, kind, protocol)
            try:
                deadline.watch(sock)
                sock.connect(address)
                return sock
            except OSError as error:
                sock.close()
                failure = error
        raise failure

    def _check_status(self, http_response: http.client.HTTPResponse, text: bytes, n_images: int) -> None:
        status = http_response.status
        if status == 200:
            return
        if status == 413:
            raise TooLargeError(f"HTTP 413 at {n_images} images")
        if status in RETRYABLE_STATUSES or (500 <= status < 600 and status not in PERMANENT_STATUSES):
            raise TransientError(f"HTTP {status}", retry_after=_retry_after(http_response.getheader("Retry-After")))
        if 300 <= status < 400:
            target = (http_response.getheader("Location") or "nowhere").partition("?")[0]
            target = one_line(redact(target, self._secrets))
            raise UserError(
                f"suspect {self.url}: expected responses, got a redirect to {target}, which is not followed; "
                "check that host and name it yourself",
                argument="at",
            )
        shown = one_line(redact(unescape_json(text.decode(errors="replace")), self._secrets))
        if status in (401, 403):
            raise UserError(
                f"suspect {self.url}: expected HTTP 200, got {status} ({shown}); check headers", argument="headers"
            )
        error = RefusedInputError if status in REFUSALS else UserError
        raise error(
            f"suspect {self.url}: expected HTTP 200, got {status} ({shown}); check the URL, the protocol, the format "
            "of the images and batch_size",
            argument="at",
        )


def _read(http_response: http.client.HTTPResponse, limit: int) -> bytes:
    """The body, of at most `limit` bytes.

    Raises:
        UserError: it is longer, or compressed.
    """
    if http_response.getheader("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise UserError("suspect: expected a plain response, got a compressed one, which was not requested")
    too_long = UserError(
        f"suspect: expected a response of at most {limit:,} bytes, got a longer one, which was not read"
    )
    if http_response.length is not None and http_response.length > limit:
        raise too_long
    text = http_response.read(limit + 1)
    if len(text) > limit:
        raise too_long
    return text


def _is_deep(value: Any) -> bool:
    """Whether a JSON value is nested too deeply to be encoded again."""
    level = [value]
    for _ in range(MAX_DEPTH):
        items = [item for item in level if isinstance(item, list | dict)]
        level = [child for item in items for child in (item.values() if isinstance(item, dict) else item)]
    return any(isinstance(item, list | dict) for item in level)


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date."""
    if value is None:
        return None
    try:
        return (
            max(0.0, float(value))
            if value.strip().isdigit()
            else parsedate_to_datetime(value).timestamp() - time.time()
        )
    except (ValueError, TypeError, OverflowError):
        return None


def one_per_image(responses: Any, n_images: int) -> Sequence[Any]:
    """The same, if it is a list of one response per image.

    Raises:
        TransientError: it is not.
    """
    if not isinstance(responses, list) or len(responses) != n_images:
        got = f"{len(responses)} responses" if isinstance(responses, list) else type(responses).__name__
        raise TransientError(f"expected {n_images} responses, got {got}")
    return responses
