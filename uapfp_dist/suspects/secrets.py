"""Secrets in requests, redacted from whatever comes back."""

import os
import re
from collections.abc import Sequence

from uapfp_dist.errors import UserError

SHORTEST_SECRET = 8
"""Characters: what is shorter may be part of an honest answer."""


def _long_secrets(texts: Sequence[str]) -> list[str]:
    """Those that are no part of an honest answer, the longest first: one may hold another."""
    return sorted({text for text in texts if len(text) >= SHORTEST_SECRET}, key=len, reverse=True)


def redact(text: str, private: Sequence[str]) -> str:
    for part in private:
        text = text.replace(part, "***")
    return text


def _unescaped(text: str) -> str:
    """As JSON's escapes mean it, whatever stands around them: a secret may come back as `a\\/b` or `\\u0061`."""
    plain = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    return plain.replace("\\/", "/")


def _secret(name: str, value: str) -> str:
    """A header's value. What is wrong with one is told without it."""
    found = os.environ.get(value[4:]) if value.startswith("env:") else value
    if found is None:
        raise UserError(f"header {name}: expected the environment variable {value[4:]}, it is not set; export it")
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not re.fullmatch(r"[\t\x20-\x7e]*", found):
        raise UserError(f"header {name!r:.40}: expected a name and a value in one line of printable ASCII; mend it")
    return found
