"""Answers that are ready later: the address that a reply names is asked until one is there, on the same host only."""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin, urlsplit

from uapfp_dist.errors import UserError
from uapfp_dist.messages import one_line
from uapfp_dist.serialization import Json
from uapfp_dist.suspects.answer_path import AnswerPath, PathError
from uapfp_dist.suspects.connection import HttpReply
from uapfp_dist.suspects.reply import NOTHING_THERE, json_value
from uapfp_dist.suspects.suspect import TransientError, UnexpectedResponseError

LOCATION = "location"
"""The header that names where an answer will be."""
FIRST_POLL, LONGEST_POLL = 0.2, 5.0
"""Seconds before the answer is asked for, doubled each time."""
FAILED = ("failed", "error", "canceled", "cancelled")


class Polling:
    """Where a reply names the address of its answer.

    Args:
        where: `location` (the header of that name), or a path into its JSON.

    Raises:
        UserError: no path.
    """

    def __init__(self, where: str) -> None:
        self._path = None if where == LOCATION else AnswerPath(where)

    def target(self, reply: HttpReply, url: str) -> str | None:
        """Path and query string where the answer to a reply will be; None: the reply is the answer.

        Args:
            reply: to the request.
            url: of the request.

        Raises:
            UserError: it is on another host.
            UnexpectedResponseError: a reply that promises an answer, and does not say where.
        """
        if not (found := self._named(reply)):
            if reply.status == 202:
                raise UnexpectedResponseError("HTTP 202 without the address that polling names")
            return None
        try:
            parts, own = urlsplit(urljoin(url, found)), urlsplit(url)
            same = _origin(parts) == _origin(own)
        except ValueError as error:
            raise UnexpectedResponseError("a polling address that is no URL") from error
        if not same:
            raise UserError(
                f"suspect {url.partition('?')[0]}: expected to poll the same host, got {one_line(parts.hostname, 60)}, "
                "which is not asked; check that host and name it yourself",
                argument="polling",
            )
        return parts.path + (f"?{parts.query}" if parts.query else "")

    def _named(self, reply: HttpReply) -> str:
        if self._path is None:
            return reply.headers.get("Operation-Location") or reply.headers.get("Location") or ""
        try:
            found = self._path.find(json_value(reply.body), batched=False)
        except (PathError, ValueError):
            return ""
        return found if isinstance(found, str) else ""


def poll(get: Callable[[float], HttpReply], parse: Callable[[HttpReply], Json], ends: float) -> Json:
    """The answer, once it is there.

    Args:
        get: asks for it within so many seconds.
        parse: the JSON value of a reply if that is the answer, else None.
        ends: on the monotonic clock.

    Raises:
        TransientError: it is not there in time, or never will be.
    """
    pause = FIRST_POLL
    while time.monotonic() + pause < ends:
        time.sleep(pause)
        reply = get(max(ends - time.monotonic(), 0.001))
        if reply.status in NOTHING_THERE:
            raise TransientError(f"HTTP {reply.status} where the answer was to be polled")
        if reply.status != 202 and (found := parse(reply)) is not None:
            return found
        pause = min(2 * pause, LONGEST_POLL)
    raise TransientError("no answer in time at the address that was to be polled")


def check_not_failed(reply: Any) -> None:
    """Raises TransientError where a reply says that its task failed."""
    status = reply.get("status") if isinstance(reply, dict) else None
    if isinstance(status, str) and status.lower() in FAILED:
        raise TransientError(f"the status of the polled task is {one_line(status, 20)}")


def _origin(parts: Any) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
