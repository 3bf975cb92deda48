"""The evidence: every image sent to a suspect and every response, appended to a file as they come.

Lines of a `record_chain`. What a crash left half-written at the end is dropped. The record of sending is on disk before
the first byte leaves.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import torch

import uapfp_dist
from uapfp_dist.errors import UserError
from uapfp_dist.file_lock import try_lock
from uapfp_dist.messages import one_line
from uapfp_dist.verification.querying.record_chain import chain_line, read_chain, record_of
from uapfp_dist.verification.querying.records import (
    Answered,
    Begin,
    Certificate,
    End,
    Failed,
    OtherFormatError,
    Record,
    Sent,
    Stopped,
    decode_record,
    encode_record,
)

MADE_BY = {"uapfp_dist": uapfp_dist.__version__, "torch": str(torch.__version__)}
"""Who queries and judges here; another version may come to other last digits."""
MAY_DIFFER = ("max_queries", "made_by", "nonce", "fatal_is_one")
"""Between the runs of one verification; the first record keeps that of the first."""


class Transcript:
    """A file of records, open for more.

    Args:
        path: of the file; it is made where there is none.
        begin: the first record of a new file; an old one must begin with the same, but for what MAY_DIFFER.

    Raises:
        UserError: another verification's file, a changed one, or one that is in use.
    """

    def __init__(self, path: Path, begin: Begin) -> None:
        self._file = _exclusive(path)
        try:
            self._file.seek(0)
            self.records, n_bytes, self._last = _parse(self._file.read(), path)
            self._file.truncate(n_bytes)
            self._n_batches = sum(isinstance(record, Sent) for record in self.records)
            self._begin(path, replace(begin, made_by=dict(MADE_BY)))
        except BaseException:
            self._file.close()
            raise

    def _begin(self, path: Path, begin: Begin) -> None:
        if not self.records:
            self._append(begin)
        # A larger budget after a look at the responses would be a choice among tests.
        elif different := difference(self.begin, begin):
            raise UserError(
                f"transcript {path}: it was made with {different}; use the same as then to resume. Another folder is "
                "another test: both verdicts must be reported",
                argument="out",
            )

    @property
    def begin(self) -> Begin:
        """The first record."""
        begin = self.records[0]
        assert isinstance(begin, Begin)
        return begin

    @property
    def finished(self) -> bool:
        """Every required response is there."""
        return isinstance(self.records[-1], End)

    @property
    def shown_certificate(self) -> str:
        """The last certificate that the server showed; empty where there is none."""
        return next((one.sha256 for one in reversed(self.records) if isinstance(one, Certificate)), "")

    def sent(self, images: Sequence[int]) -> int:
        """About to send these; returns the number of the batch."""
        batch = self._n_batches = self._n_batches + 1
        self._append(Sent(batch, tuple(images), datetime.now(UTC).isoformat(timespec="seconds")))
        return batch

    def answered(self, batch: int, responses: Sequence[object]) -> None:
        """What came back, one value for each image of the batch."""
        self._append(Answered(batch, tuple(responses)))

    def certificate(self, sha256: str) -> None:
        """The server of the suspect shows this one."""
        self._append(Certificate(sha256))

    def failed(self, batch: int, why: str, counts: bool) -> None:
        """Nothing came back; `counts` unless certainly nothing was sent."""
        self._append(Failed(batch, why, counts))

    def stopped(self, why: str) -> None:
        """Given up for now; a finished one stays as it is, whatever becomes of its worker."""
        if not self.finished and self.records[-1] != (record := Stopped(why)):
            self._append(record)

    def end(self, n_required: int) -> None:
        """Every required response is there."""
        if not self.finished:
            self._append(End(n_required))

    def close(self) -> None:
        """Let others have the file."""
        self._file.close()

    def _append(self, record: Record) -> None:
        line, self._last = chain_line(self._last, encode_record(record))
        self._file.write(line)
        self._file.flush()
        os.fsync(self._file.fileno())
        self.records.append(record)


def stored_records(path: Path) -> list[Record]:
    """The records of a transcript that may be unfinished; none where there is no file.

    Raises:
        UserError: it cannot be read, or was changed.
    """
    try:
        return _parse(path.read_bytes(), path)[0]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"transcript {path}: expected a file ({error.strerror}); check the path") from error


def read_transcript(path: Path, kit: str) -> list[Record]:
    """The records of a transcript that is finished, or was given up with a reason; the first one is a `Begin`.

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
    records, n_bytes, _ = _parse(data, path)
    if not records:
        raise UserError(f"transcript {path}: expected the transcript of a verification, got something else")
    begin = records[0]
    assert isinstance(begin, Begin)
    if begin.kit != kit:
        raise UserError(
            f"transcript {path}: it was made with kit {begin.kit[:16]}..., this one is {kit[:16]}...; name the other "
            "kit",
            argument="kit",
        )
    if not isinstance(records[-1], End | Stopped) or n_bytes < len(data):
        raise UserError(f"transcript {path}: the verification was not finished; run it again to resume, then replay")
    return records


def first_record(line: bytes) -> Begin | None:
    """The record that a transcript begins with, from its first line; None if that is none.

    Raises:
        OtherFormatError: it is by another version.
    """
    try:
        begin = decode_record(record_of(line))
    except OtherFormatError:
        raise
    except ValueError:
        return None
    return begin if isinstance(begin, Begin) else None


def why_stopped(records: Sequence[Record]) -> str:
    """Why a transcript that `read_transcript` gave is not finished, in one line; empty where it is."""
    last = records[-1]
    return one_line(last.why, 300) if isinstance(last, Stopped) else ""


def _parse(data: bytes, path: Path) -> tuple[list[Record], int, str]:
    """(records, bytes that hold them, last digest); a chain of digests does not say that the records make sense."""
    bodies, n_bytes, last = read_chain(data, path)
    records: list[Record] = []
    for number, body in enumerate(bodies, 1):
        try:
            records.append(decode_record(body))
        except OtherFormatError as error:
            raise UserError(f"transcript {path}: {error}; use the version it was made by") from error
        except ValueError as error:
            raise UserError(
                f"transcript {path}: expected a record in line {number}, got something else "
                f"({one_line(error)}); take a complete one"
            ) from error
        if isinstance(records[-1], Begin) != (number == 1):
            raise UserError(f"transcript {path}: expected the transcript of a verification, got something else")
    return records, n_bytes, last


def difference(old: Begin, new: Begin) -> str:
    """What differs between two verifications, in words; empty where one may go on with the other's transcript."""
    before, now = (json.loads(encode_record(begin)) for begin in (old, new))
    for one in (before, now):
        judged = one.pop("judged")
        one["alpha"], one["list of suspects that are judged together"] = judged["alpha"], judged["names"]
    return ", ".join(f"another {key}" for key in now if key not in MAY_DIFFER and before[key] != now[key])


def _exclusive(path: Path) -> BinaryIO:
    """The file, for this process alone: two on one transcript would each spend the budget."""
    try:
        file = path.open("ab+")
    except OSError as error:
        raise UserError(
            f"transcript {path}: expected a file that can be written ({error.strerror}); name another folder",
            argument="out",
        ) from error
    if not try_lock(file):
        file.close()
        raise UserError(f"transcript {path}: another verification is writing it; wait for it to end")
    return file
