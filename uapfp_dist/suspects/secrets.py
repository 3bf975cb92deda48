"""Secrets of requests, redacted from whatever comes back."""

import os
import re
from collections.abc import Iterable, Sequence

from uapfp_dist.errors import UserError

SHORTEST_SECRET = 8
"""Characters; a shorter text may be part of an ordinary response."""


def redactable(texts: Iterable[str]) -> list[str]:
    """The texts that are long enough to be redacted, the longest first: one may contain another."""
    return sorted({text for text in texts if len(text) >= SHORTEST_SECRET}, key=len, reverse=True)


def redact(text: str, secrets: Sequence[str]) -> str:
    """The text with `***` for each of the secrets."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def unescape_json(text: str) -> str:
    """The text without JSON's escapes: a secret may come back as `a\\/b` or `\\u0061`."""
    plain = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text)
    return plain.replace("\\/", "/")


def header_value(name: str, value: str) -> str:
    """The value of an HTTP header; `env:NAME` is read from the environment.

    Raises:
        UserError: the variable is not set, or no valid header; the message does not contain the value.
    """
    found = os.environ.get(value[4:]) if value.startswith("env:") else value
    if found is None:
        raise UserError(
            f"header {name}: expected the environment variable {value[4:]}, it is not set; export it",
            argument="headers",
        )
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not re.fullmatch(r"[\t\x20-\x7e]*", found):
        raise UserError(
            f"header {name!r:.40}: expected a name and a value in one line of printable ASCII; fix it",
            argument="headers",
        )
    return found
