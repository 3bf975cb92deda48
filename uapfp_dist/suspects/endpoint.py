"""One POST to an endpoint that nobody trusts: bounded in time and in size, to that host alone.

The standard library's client: it follows no redirect, uses no proxy, unpacks no compression, and a connection serves
one request, so that a dropped one is never confused with an idle one.
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

from uapfp_dist.errors import UserError, one_line
from uapfp_dist.suspects.deadline import _Watch
from uapfp_dist.suspects.secrets import _long_secrets, _secret, _unescaped, redact
from uapfp_dist.suspects.suspect import TooLargeError, TransientError

AGAIN = (408, 425, 429)
"""Statuses below 500 after which asking again may help."""


NEVER = (501, 505)
"""Those above that will not change."""


LEAST_BYTES, BYTES_PER_IMAGE = 1 << 20, 1 << 16
"""An answer may have the first and, for every image, the second: a thousand classes take 20 kB."""


DEEPEST = 20
"""Lists and objects within one another in an answer."""


class Endpoint:
    """A URL to which JSON is posted.

    Args:
        url: http or https.
        headers: name to value; a value `env:NAME` is read from the environment now, and appears in no file.

    Raises:
        UserError: another kind of URL, credentials in it, an environment variable that is not set.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise UserError(f"suspect: expected a URL ({error}); mend it") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(
                f"suspect {url.partition('?')[0]!r}: expected http:// or https:// and a host; nothing else is opened"
            )
        if parts.username or parts.password:
            raise UserError("suspect: expected a URL without a password; use a header with a value env:NAME")
        self.url = url.partition("?")[0]  # the rest may hold a key; this stands in messages and transcripts
        self._host, self._secure = parts.hostname, parts.scheme == "https"
        self._port = port or (443 if self._secure else 80)
        self.path = parts.path
        self._query = f"?{parts.query}" if parts.query else ""
        self._headers = {name: _secret(name, value) for name, value in headers.items()}
        secrets = [self._headers[name] for name, value in headers.items() if value.startswith("env:")]
        self._secrets = _long_secrets([part for text in secrets for part in text.split()])
        values = [pair.partition("=")[2] or pair for pair in parts.query.split("&")]
        self._private = _long_secrets([*self._secrets, *values, *map(unquote_plus, values)])

    def post(self, body: object, path: str, n_images: int, timeout: float) -> Any:
        """The JSON value that comes back.

        Args:
            body: a JSON value.
            path: on the host.
            n_images: in the body; bounds the size of the answer.
            timeout: seconds for everything, from the connection to the last byte; looking up the name alone may take
                as long as the system lets it.

        Raises:
            TransientError, TooLargeError, UserError: see `Suspect.ask`.
        """
        data = json.dumps(body).encode()
        watch = _Watch(timeout)
        line = self._connect(watch)
        try:
            headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", "Connection": "close"}
            # Who refuses a long request may say so before it was read to the end.
            with contextlib.suppress(BrokenPipeError):
                line.request("POST", path + self._query, data, {**headers, **self._headers})
            with line.getresponse() as response:
                text = _read(response, LEAST_BYTES + BYTES_PER_IMAGE * n_images)
                self._check(response, text, n_images)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # A connection that is cut for being late looks like one that was lost, or like a shorter answer.
            why = f"no answer within {timeout:.3g} s" if watch.is_why(error) else one_line(error)
            raise TransientError(why) from error
        finally:
            watch.end()
            line.close()
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            why = (
                f"no answer within {timeout:.3g} s" if watch.late else f"an answer that is no JSON ({one_line(error)})"
            )
            raise TransientError(why) from error
        if _deep(found):
            raise TransientError(f"an answer nested more than {DEEPEST} deep")
        return self._redacted(found)

    def _redacted(self, found: Any) -> Any:
        """A JSON value without what is private, should the endpoint say it back: answers go into files.

        What stands in the query may be an ordinary word: names of fields lose the headers' secrets alone.
        """
        if isinstance(found, str):
            return redact(found, self._private)
        if isinstance(found, list):
            return [self._redacted(item) for item in found] if self._private else found
        if isinstance(found, dict):
            return {redact(key, self._secrets): self._redacted(item) for key, item in found.items()}
        return found

    def _connect(self, watch: "_Watch") -> http.client.HTTPConnection:
        context = ssl.create_default_context() if self._secure else None
        line = (
            http.client.HTTPSConnection(self._host, self._port, context=context)
            if context
            else http.client.HTTPConnection(self._host, self._port)
        )
        try:
            line.sock = self._dialled(watch)
            line.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context:
                # First watched, then greeted: a handshake may come a byte at a time.
                line.sock = context.wrap_socket(line.sock, server_hostname=self._host, do_handshake_on_connect=False)
                watch.over(line.sock)
                line.sock.do_handshake()
        except ssl.SSLCertVerificationError as error:
            watch.end()
            line.close()
            raise UserError(
                f"suspect {self.url}: its certificate is not valid ({one_line(error)}); nothing was sent"
            ) from error
        except (OSError, ValueError) as error:
            watch.end()
            line.close()
            why = f"within {watch.seconds:.3g} s" if watch.is_why(error) else f"({one_line(error)})"
            raise TransientError(f"no connection {why}", sent=False) from error
        return line

    def _dialled(self, watch: "_Watch") -> socket.socket:
        """Connected to the first address that takes it; each of them has only what is left of the time."""
        failure = OSError("no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM):
            line = socket.socket(family, kind, protocol)
            try:
                watch.over(line)
                line.connect(address)
                return line
            except OSError as error:
                line.close()
                failure = error
        raise failure

    def _check(self, response: http.client.HTTPResponse, text: bytes, n_images: int) -> None:
        status = response.status
        said = one_line(redact(_unescaped(text.decode(errors="replace")), self._private))
        if status == 200:
            return
        if status == 413:
            raise TooLargeError(f"HTTP 413 at {n_images} images")
        if status in AGAIN or (500 <= status < 600 and status not in NEVER):
            raise TransientError(f"HTTP {status}", after=_seconds(response.getheader("Retry-After")))
        if 300 <= status < 400:
            to = (response.getheader("Location") or "nowhere").partition("?")[0]
            to = one_line(redact(to, self._private))
            raise UserError(
                f"suspect {self.url}: expected answers, got a redirect to {to}; it is not followed: check that "
                "host and name it yourself"
            )
        raise UserError(
            f"suspect {self.url}: expected HTTP 200, got {status} ({said}); check the URL, the protocol and the "
            "form of the images"
        )


def _read(response: http.client.HTTPResponse, limit: int) -> bytes:
    """The body; no more of it than `limit` bytes is ever read.

    Raises:
        UserError: it is longer, or compressed.
    """
    if response.getheader("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise UserError("suspect: expected a plain answer, got a compressed one although none was asked for")
    too_long = UserError(f"suspect: expected an answer of at most {limit:,} bytes, got a longer one; it was not read")
    if response.length is not None and response.length > limit:
        raise too_long
    text = response.read(limit + 1)
    if len(text) > limit:
        raise too_long
    return text


def _deep(found: Any) -> bool:
    """Whether a JSON value is nested too deeply to be written down again."""
    level = [found]
    for _ in range(DEEPEST):
        items = [item for item in level if isinstance(item, list | dict)]
        level = [child for item in items for child in (item.values() if isinstance(item, dict) else item)]
    return any(isinstance(item, list | dict) for item in level)


def _seconds(value: str | None) -> float | None:
    """Retry-After: seconds or a date."""
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


def one_each(found: Any, n_images: int) -> Sequence[Any]:
    """`found`, if it is a list of one answer per image.

    Raises:
        TransientError: it is not.
    """
    if not isinstance(found, list) or len(found) != n_images:
        what = f"{len(found)} answers" if isinstance(found, list) else type(found).__name__
        raise TransientError(f"expected {n_images} answers, got {what}")
    return found
