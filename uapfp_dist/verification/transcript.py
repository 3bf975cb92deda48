"""The evidence: every image sent to a suspect and every answer, appended as they come.

JSON lines, each `{"sha256": "...", "record": {...}}`, where the digest is over the one before it and the bytes of the
record: no line can be changed, dropped or moved without the next one telling. What a crash left half-written at the
end is dropped. An image counts as a query from the moment it may have been sent, whether or not its answer came: the
record of sending is on disk before the first byte leaves.

A record of kind
    begin     kit (digest), suspect (name, output, classes, how it was reached), judged (names of its batch, alpha),
              seed, max_queries (of the first run: with the kit it settles what is asked), format, made_by (versions)
    sent      batch (a number), images (indices in the kit's order), at (UTC)
    answered  batch, answers (one JSON value for each image, as it came)
    failed    batch, why, counts (False when certainly nothing was sent)
    stopped   why: it was given up for now, more may follow
    end       wanted (images that had to be answered): everything was
"""

import hashlib
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import torch

import uapfp_dist
from uapfp_dist.errors import UserError, one_line

FORMAT = 2
MADE_BY = {"uapfp_dist": uapfp_dist.__version__, "torch": str(torch.__version__)}
"""Who asks and judges here; another version may come to other last digits."""
FREE = ("max_queries", "made_by")
"""What may differ between the runs of one verification; the first record keeps that of the first."""
_BEFORE, _BETWEEN, _AFTER = b'{"sha256": "', b'", "record": ', b"}\n"
_HEAD = len(_BEFORE) + 64 + len(_BETWEEN)


class Transcript:
    """A file of records, open for more.

    Args:
        path: of the file; it is made where there is none.
        begin: the first record of a new file; an old one must begin with the same, but for what is FREE.

    Raises:
        UserError: another verification's file, a changed one, or one that is in use.
    """

    def __init__(self, path: Path, begin: dict[str, Any]) -> None:
        self._file = _exclusive(path)
        try:
            self._file.seek(0)
            self.records, whole, self._last = _parse(self._file.read(), path)
            self._file.truncate(whole)
            self._batches = sum(record["kind"] == "sent" for record in self.records)
            self._begin(path, {"kind": "begin", "format": FORMAT, "made_by": MADE_BY, **begin})
        except BaseException:
            self._file.close()
            raise

    def _begin(self, path: Path, begin: dict[str, Any]) -> None:
        if not self.records:
            self._append(begin)
        # Who could ask for more after a look at the answers would choose among tests.
        elif different := _difference(self.records[0], begin):
            raise UserError(
                f"transcript {path}: it was made with {different}; use the same as then to resume. Another --out is "
                "another test: both verdicts must be told"
            )

    @property
    def begin(self) -> dict[str, Any]:
        """The first record."""
        return self.records[0]

    @property
    def finished(self) -> bool:
        """Everything that was wanted is there."""
        return bool(self.records[-1]["kind"] == "end")

    def sent(self, images: Sequence[int]) -> int:
        """About to send these; returns the number of the batch."""
        batch = self._batches = self._batches + 1
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self._append({"kind": "sent", "batch": batch, "images": list(images), "at": at})
        return batch

    def answered(self, batch: int, answers: Sequence[Any]) -> None:
        """What came back, one value for each image of the batch."""
        self._append({"kind": "answered", "batch": batch, "answers": list(answers)})

    def failed(self, batch: int, why: str, counts: bool) -> None:
        """Nothing came back; `counts` unless certainly nothing was sent."""
        self._append({"kind": "failed", "batch": batch, "why": why, "counts": counts})

    def stopped(self, why: str) -> None:
        """Given up for now."""
        if self.records[-1] != (record := {"kind": "stopped", "why": why}):
            self._append(record)

    def end(self, wanted: int) -> None:
        """Everything that was wanted is there."""
        if not self.finished:
            self._append({"kind": "end", "wanted": wanted})

    def close(self) -> None:
        """Let others have the file."""
        self._file.close()

    def _append(self, record: dict[str, Any]) -> None:
        body = json.dumps(record).encode()
        self._last = _chained(self._last, body)
        self._file.write(_BEFORE + self._last.encode() + _BETWEEN + body + _AFTER)
        self._file.flush()
        os.fsync(self._file.fileno())
        self.records.append(record)


class Ledger:
    """What a transcript's records come to.

    Args:
        records: of one transcript.

    Raises:
        UserError: an answer to a question that was never asked.
    """

    def __init__(self, records: Sequence[dict[str, Any]]) -> None:
        self.answers: dict[int, list[Any]] = {}
        """Image to its answers, the first one first."""
        self.queries = 0
        """Images sent, those without an answer counted."""
        self.failures = 0
        """Batches without an answer."""
        batches: dict[int, list[int]] = {}
        try:
            for record in records:
                self._take(record, batches)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                "transcript: expected records of batches and their answers, got others; take a whole one"
            ) from error

    def _take(self, record: dict[str, Any], batches: dict[int, list[int]]) -> None:
        if record["kind"] == "sent":
            images = record["images"]
            # 1.0 is 1 to a dictionary and to a set, but no index.
            if not isinstance(images, list) or any(type(number) is not int for number in (record["batch"], *images)):
                raise TypeError
            batches[record["batch"]] = images
            self.queries += len(images)
        elif record["kind"] == "failed":
            self.failures += 1
            images = batches.pop(record["batch"])
            self.queries -= 0 if record["counts"] else len(images)
        elif record["kind"] == "answered":
            for image, answer in zip(batches.pop(record["batch"]), record["answers"], strict=True):
                self.answers.setdefault(image, []).append(answer)


def read_transcript(path: Path, kit: str) -> list[dict[str, Any]]:
    """The records of a transcript that is finished, or was given up with a reason.

    Args:
        path: of the file.
        kit: digest of the kit that it must have been made with.

    Raises:
        UserError: no such file, another kit's, changed, or broken off.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"transcript {path}: expected a file ({error.strerror}); check the path") from error
    records, whole, _ = _parse(data, path)
    if not records or records[0].get("kind") != "begin":
        raise UserError(f"transcript {path}: expected the transcript of a verification, got something else")
    if records[0].get("format") != FORMAT:
        raise UserError(
            f"transcript {path}: expected format {FORMAT}, got {records[0].get('format')}; use the "
            "version it was made by"
        )
    if records[0].get("kit") != kit:
        raise UserError(
            f"transcript {path}: it was made with kit {str(records[0].get('kit'))[:16]}..., this one is {kit[:16]}...; "
            "name the other kit"
        )
    if records[-1]["kind"] not in ("end", "stopped") or whole < len(data):
        raise UserError(f"transcript {path}: the verification was not finished; run it again to resume, then replay")
    return records


def first_record(line: bytes) -> dict[str, Any]:
    """The record that a transcript begins with, from its first line; empty if that is none."""
    try:
        begin = json.loads(line)["record"]
        return begin if isinstance(begin["judged"]["names"], list) else {}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}


def why_stopped(records: Sequence[dict[str, Any]]) -> str:
    """Why a transcript that `read_transcript` gave is not finished, in one line; empty where it is."""
    return one_line(records[-1].get("why"), 300) if records[-1]["kind"] == "stopped" else ""


def _parse(data: bytes, path: Path) -> tuple[list[dict[str, Any]], int, str]:
    """(records, bytes that hold them, last digest); a torn end is left out.

    Raises:
        UserError: a line that is not what was written there, with more after it.
    """
    records: list[dict[str, Any]] = []
    whole, last = 0, ""
    lines = data.splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        body = line[_HEAD : -len(_AFTER)]
        last_of_this = _chained(last, body)
        if line != _BEFORE + last_of_this.encode() + _BETWEEN + body + _AFTER:
            if number == len(lines) and not line.endswith(b"\n"):
                break
            raise UserError(
                f"transcript {path}: line {number} is not what was written there; it is no evidence any more"
            )
        records.append(_record(body, path, number))
        whole, last = whole + len(line), last_of_this
    return records, whole, last


def _record(body: bytes, path: Path, number: int) -> dict[str, Any]:
    """A chain of digests says that nothing was changed, not that it makes sense."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
        raise UserError(f"transcript {path}: expected a record in line {number}, got something else; take a whole one")
    return found


def _chained(last: str, body: bytes) -> str:
    return hashlib.sha256(last.encode() + body).hexdigest()


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    both = [key for key in {**old, **new} if key not in FREE]
    keys = [key for key in both if old.get(key) != json.loads(json.dumps(new.get(key)))]
    return ", ".join(f"another {key}" for key in keys)


def _exclusive(path: Path) -> BinaryIO:
    """The file, for this process alone: two on one transcript would each spend the budget."""
    try:
        file = path.open("ab+")
    except OSError as error:
        raise UserError(
            f"transcript {path}: expected a file that can be written ({error.strerror}); name another --out"
        ) from error
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # not a POSIX system
        pass
    except OSError as error:
        file.close()
        if not isinstance(error, BlockingIOError):  # a file system without locks
            return path.open("ab+")
        raise UserError(f"transcript {path}: another verification is writing it; wait for it to end") from error
    return file
