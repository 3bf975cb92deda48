"""Requests to an untrusted endpoint: JSON values come back, without the secrets that were sent."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.connection import ConnectionConfig, Host, HttpReply
from uapfp_dist.suspects.polling import Polling, check_not_failed, poll
from uapfp_dist.suspects.reply import NOTHING_THERE, check_status, json_value
from uapfp_dist.suspects.request_template import HttpBody
from uapfp_dist.suspects.secrets import header_value, redact, redactable
from uapfp_dist.suspects.suspect import TransientError, UnexpectedResponseError
from uapfp_dist.suspects.tensors import HEADER_LENGTH

BASE_BYTES, BYTES_PER_IMAGE = 1 << 20, 1 << 16
"""Most bytes of a reply: the first and, for every image, the second (a thousand classes take 20 kB)."""


class Endpoint:
    """A URL to which images are posted.

    Args:
        url: http or https.
        headers: name to value; a value `env:NAME` is read from the environment and written into no file.
        connection: how the host is reached; a proxy `env:NAME` is read from the environment.
        polling: where a reply names the address of its answer: `location` (the header of that name), a path into the
            JSON, or nowhere.

    Raises:
        UserError: another kind of URL, credentials in it, an environment variable that is not set.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], connection: ConnectionConfig | None = None, polling: str = ""
    ) -> None:
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
        secure = parts.scheme == "https"
        self.path = parts.path
        self._query = f"?{parts.query}" if parts.query else ""
        self._polling = Polling(polling) if polling else None
        connection, proxy_secrets = _with_proxy(connection or ConnectionConfig())
        self._host = Host(parts.hostname, port or (443 if secure else 80), secure=secure, config=connection)
        self._headers = {name: header_value(name, value) for name, value in headers.items()}
        secrets = [self._headers[name] for name, value in headers.items() if value.startswith("env:")]
        self._header_secrets = redactable(part for text in [*secrets, *proxy_secrets] for part in text.split())
        values = [pair.partition("=")[2] or pair for pair in parts.query.split("&")]
        self._secrets = redactable([*self._header_secrets, *values, *map(unquote_plus, values)])

    @property
    def certificate(self) -> str:
        """SHA-256 of the server's certificate; empty before there was a connection, and without TLS."""
        return self._host.certificate

    @certificate.setter
    def certificate(self, expected: str) -> None:
        self._host.certificate = expected

    def keep_secret(self, texts: Sequence[str]) -> None:
        """Redact these, too, from whatever comes back."""
        self._secrets = redactable([*self._secrets, *texts])

    def post(
        self,
        body: HttpBody,
        path: str,
        n_images: int,
        timeout: float,
        is_answer: Callable[[Any], bool] = lambda reply: True,
    ) -> Any:
        """The JSON value that comes back.

        Args:
            body: of the request.
            path: on the host.
            n_images: in the body; bounds the size of the reply.
            timeout: seconds from the connection to the last byte, of all requests where it polls.
            is_answer: whether a reply to polling is the answer.

        Raises:
            TransientError, TooLargeError, UserError: see `Suspect.query`.
        """
        ends = time.monotonic() + timeout
        reply = self._send(body, path, n_images, timeout, {})
        if self._polling and (target := self._polling.target(reply, self.url + self._query)) is not None:

            def answer(polled: HttpReply) -> Any:
                found = self._parse(polled, timeout)
                if is_answer(found):
                    return found
                return check_not_failed(found)

            return poll(lambda seconds: self._exchange("GET", None, target, n_images, seconds), answer, ends)
        if reply.status == 202 and not self._polling:
            raise UnexpectedResponseError("HTTP 202, an answer that is ready later: say where it is in polling")
        return self._parse(reply, timeout)

    def post_tensors(
        self, body: HttpBody, path: str, n_images: int, timeout: float, headers: Mapping[str, str]
    ) -> tuple[Any, bytes]:
        """(the JSON value that comes back, the bytes after it): the Open Inference Protocol's binary tensor extension.

        Args:
            body, path, n_images, timeout: see `post`.
            headers: of the request.

        Raises:
            See `post`.
        """
        reply = self._send(body, path, n_images, timeout, headers)
        length = reply.headers.get(HEADER_LENGTH, "")
        at = int(length) if length.isascii() and length.isdigit() and len(length) < 12 else len(reply.body)
        return self._parse(replace(reply, body=reply.body[:at]), timeout), reply.body[at:]

    def _send(self, body: HttpBody, path: str, n_images: int, timeout: float, headers: Mapping[str, str]) -> HttpReply:
        sent = {"Content-Type": body.content_type, **headers}
        return self._exchange("POST", body.data, path + self._query, n_images, timeout, sent)

    def _parse(self, reply: HttpReply, timeout: float) -> Any:
        """The JSON value of a reply, without secrets.

        Raises:
            TransientError: there is none.
        """
        try:
            return self._redacted(json_value(reply.body))
        except ValueError as error:
            if reply.late:
                raise TransientError(f"no response within {timeout:.3g} s") from error
            # Half of a JSON is an accident, a page for people is none.
            page = "html" in reply.headers.get("Content-Type", "").lower()
            raise (UnexpectedResponseError if page else TransientError)(str(error)) from error

    def get(self, path: str, timeout: float) -> Any:
        """The JSON value at a path; None where the server has none there.

        Raises:
            TransientError, UserError: see `Suspect.query`; no image was sent.
        """
        try:
            reply = self._exchange("GET", None, path + self._query, 0, timeout)
            return None if reply.status in NOTHING_THERE else self._redacted(json_value(reply.body))
        except ValueError:
            return None
        except TransientError as error:
            raise TransientError(str(error), sent=False, retry_after=error.retry_after) from error

    def _exchange(
        self,
        method: str,
        data: bytes | None,
        target: str,
        n_images: int,
        timeout: float,
        headers: Mapping[str, str] | None = None,
    ) -> HttpReply:
        """The reply, unless its status is an error; to GET also one that says that nothing is there."""
        sent = {"Accept-Encoding": "identity", "Connection": "close", **(headers or {}), **self._headers}
        limit = BASE_BYTES + BYTES_PER_IMAGE * n_images
        reply = self._host.exchange(method, target, data, _merged(sent), limit, timeout)
        if method == "POST" or reply.status not in NOTHING_THERE:
            check_status(reply, self.url, self._secrets)
        return reply

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


def _merged(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers whose names differ only in case are one: the last counts."""
    found: dict[str, tuple[str, str]] = {name.lower(): (name, value) for name, value in headers.items()}
    return dict(found.values())


def _with_proxy(config: ConnectionConfig) -> tuple[ConnectionConfig, list[str]]:
    """(the same with the proxy that the environment names, what of it is secret)."""
    if not config.proxy.startswith("env:"):
        if "@" in config.proxy:
            raise UserError("proxy: expected a URL without a password; give env:NAME", argument="proxy")
        return config, []
    if (url := os.environ.get(config.proxy[4:])) is None:
        raise UserError(
            f"proxy: expected the environment variable {config.proxy[4:]}, it is not set; export it", argument="proxy"
        )
    word = url.partition("://")[2].rpartition("@")[0]
    return replace(config, proxy=url), [word, word.partition(":")[2]] if word else []
