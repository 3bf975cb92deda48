"""A file of records in a hash chain: none can be changed, dropped or moved without breaking it.

Each is `{"sha256": "...", "record": {...}}`, where the digest is over the one before it and the bytes of the record.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from uapfp_dist.errors import UserError

T = TypeVar("T")
_BEFORE, _BETWEEN, _AFTER = b'{"sha256": "', b'", "record": ', b"}\n"
_HEAD = len(_BEFORE) + 64 + len(_BETWEEN)


def chain_line(previous: str, body: bytes) -> tuple[bytes, str]:
    """(line, its digest) of a record after the line with the digest `previous`."""
    digest = hashlib.sha256(previous.encode() + body).hexdigest()
    return _BEFORE + digest.encode() + _BETWEEN + body + _AFTER, digest


def record_of(line: bytes) -> bytes:
    """The bytes of the record in a line, unchecked."""
    return line[_HEAD : -len(_AFTER)]


def parse_record(body: bytes, kinds: Mapping[str, type[T]]) -> tuple[type[T], dict[str, Any]]:
    """Which of `kinds` a record is, and its JSON object; the bytes may come from anybody.

    Raises:
        ValueError: no such record, in one line.
    """
    try:
        found = json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str) or found["kind"] not in kinds:
        raise ValueError("no kind of record that is known")
    return kinds[found["kind"]], found


def read_chain(data: bytes, path: Path, what: str = "transcript") -> tuple[list[bytes], int, str]:
    """(records, bytes that hold them, last digest); a line that a crash left torn at the end is left out.

    Args:
        data: of the whole file.
        path: for messages.
        what: the file is.

    Raises:
        UserError: a line that is not what was written there, with more after it.
    """
    records: list[bytes] = []
    n_bytes, last = 0, ""
    lines = data.splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        body = record_of(line)
        expected, digest = chain_line(last, body)
        if line != expected:
            if number == len(lines) and not line.endswith(b"\n"):
                break
            raise UserError(f"{what} {path}: line {number} is not what was written there; it is no evidence any more")
        records.append(body)
        n_bytes, last = n_bytes + len(line), digest
    return records, n_bytes, last
