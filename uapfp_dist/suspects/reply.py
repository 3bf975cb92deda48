"""What the reply of an untrusted server means: a JSON value, or an error that says what helps."""

import json
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from uapfp_dist.errors import UserError
from uapfp_dist.messages import one_line
from uapfp_dist.suspects.connection import HttpReply
from uapfp_dist.suspects.secrets import redact, unescape_json
from uapfp_dist.suspects.suspect import RefusedInputError, TooLargeError, TransientError, UnexpectedResponseError

RETRYABLE_STATUSES = (408, 425, 429)
"""HTTP statuses below 500 after which a retry may help."""
PERMANENT_STATUSES = (501, 505)
"""HTTP statuses from 500 on after which no retry helps."""
REFUSALS = (400, 406, 415, 422)
"""HTTP statuses of a server that does not take what it was sent."""
NOTHING_THERE = (400, 404, 405, 501)
"""HTTP statuses of a server that does not know what is asked for."""
WORDS = 400
"""Characters that are shown of a server's own words."""
MAX_DEPTH = 20
"""Of nested lists and objects in a reply."""


def check_status(reply: HttpReply, url: str, secrets: Sequence[str]) -> None:
    """Accept any 2xx.

    Args:
        reply: of a server.
        url: for messages.
        secrets: redacted from the server's words.

    Raises:
        TransientError, TooLargeError, UserError: see `Suspect.query`.
    """
    status = reply.status
    if 200 <= status < 300:
        return
    said = one_line(redact(unescape_json(reply.body.decode(errors="replace")), secrets), WORDS)
    words = f" ({said})" if reply.body.strip() else ""
    if status == 413:
        raise TooLargeError(f"HTTP 413{words}")
    if status in RETRYABLE_STATUSES or (500 <= status < 600 and status not in PERMANENT_STATUSES):
        raise TransientError(f"HTTP {status}{words}", retry_after=_retry_after(reply.headers.get("Retry-After")))
    if 300 <= status < 400:
        target = (reply.headers.get("Location") or "nowhere").partition("?")[0]
        target = one_line(redact(target, secrets))
        raise UserError(
            f"suspect {url}: expected responses, got a redirect to {target}, which is not followed; "
            "check that host and name it yourself",
            argument="at",
        )
    if status in (401, 403):
        raise UserError(f"suspect {url}: expected HTTP 200, got {status} ({said}); check headers", argument="headers")
    error = RefusedInputError if status in REFUSALS else UserError
    raise error(
        f"suspect {url}: expected HTTP 200, got {status} ({said}); check the URL, the protocol, the format "
        "of the images and batch_size",
        argument="at",
    )


def json_value(text: bytes) -> Any:
    """The JSON value of a body.

    Raises:
        ValueError: there is none, or it is nested too deeply.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"a response that is no JSON ({one_line(error)})") from error
    if _is_deep(found):
        raise ValueError(f"a response nested more than {MAX_DEPTH} deep")
    return found


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
        raise UnexpectedResponseError(f"expected {n_images} responses, got {got}")
    return responses
