"""The records of a register, and what identifies a test.

A test is one suspect queried with one of a kit's sets of points by one transcript.
"""

import hashlib
import json
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, ClassVar

from pydantic import Field, StrictFloat, StrictInt

from uapfp_dist.serialization import from_json, to_json
from uapfp_dist.verification.querying.record_chain import parse_record
from uapfp_dist.verification.querying.records import Begin

VERSION = 1

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
SetIndex = Annotated[StrictInt, Field(ge=0)]


@dataclass(frozen=True)
class Opened:
    """The first record: whose register this is."""

    kind: ClassVar = "register"
    at: str
    """UTC."""
    kit: Digest
    """Digest of the kit."""
    version: StrictInt = VERSION


@dataclass(frozen=True)
class Reserved:
    """A suspect is about to be queried: from now on it counts, and the set is spent for its operator."""

    kind: ClassVar = "reserved"
    at: str
    """UTC."""
    test: Digest
    """See `id_of_test`."""
    name: str
    """The suspect's."""
    address: str
    """Without query string and password; of a file its name alone."""
    file_sha256: str
    """Of a suspect that is a file; else empty."""
    operator: str
    """See `operator_of`."""
    point_set: SetIndex
    """Which of the kit's sets of points."""


@dataclass(frozen=True)
class Decided:
    """The result of a test."""

    kind: ClassVar = "decided"
    at: str
    """UTC."""
    test: Digest
    p_value: Annotated[StrictFloat, Field(ge=0, le=1)]
    """Of this test alone, before any correction."""
    format: str
    """Wire name of the format of its responses."""
    transcript_sha256: Digest
    claim: str
    """Of its verdict."""
    p_adjusted: Annotated[StrictFloat, Field(ge=0, le=1)] | None = None
    """Of its verdict: corrected for the looks up to then; earlier code did not keep it."""

    def same_result(self, other: "Decided") -> bool:
        """The same evidence with the same p-value; what was claimed also depends on the looks before it."""
        return replace(self, at=other.at, claim=other.claim, p_adjusted=other.p_adjusted) == other


@dataclass(frozen=True)
class Released:
    """A reserved test that sent no more than images that check the input: no look, and its set is not spent."""

    kind: ClassVar = "released"
    at: str
    """UTC."""
    test: Digest


@dataclass(frozen=True)
class Recovered:
    """A line that a killed process left torn was taken off the end: its record never came into force."""

    kind: ClassVar = "recovered"
    at: str
    """UTC."""
    torn: str
    """What was there."""


Record = Opened | Reserved | Decided | Released | Recovered
KINDS: dict[str, type[Record]] = {kind.kind: kind for kind in (Opened, Reserved, Decided, Released, Recovered)}


def id_of_test(begin: Begin, point_set: int) -> str:
    """64 hex digits over all that determines a test, so that resuming or replaying it finds it again.

    Args:
        begin: the first record of its transcript, as it is on disk: a resumed run keeps the budget of the first.
            Who made it (`made_by`) does not count.
        point_set: which of the kit's sets of points.
    """
    # to_json leaves None out: a field that comes to Begin later, None for older transcripts, changes no id
    value = {"begin": to_json(replace(begin, made_by=None)), "point_set": point_set}
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def reservation(begin: Begin, operator: str, point_set: int, at: str) -> Reserved:
    """The record of a test that is about to begin."""
    address = re.sub(r"(?<=://)[^/]*@", "", str(begin.suspect.get("at", ""))).partition("?")[0]
    return Reserved(
        at=at,
        test=id_of_test(begin, point_set),
        name=begin.name,
        address=address,
        file_sha256=str(begin.suspect.get("file_sha256") or ""),
        operator=operator,
        point_set=point_set,
    )


def encode_record(record: Record) -> bytes:
    """JSON in one line of ASCII."""
    return json.dumps({"kind": record.kind, **to_json(record)}).encode()


def decode_record(body: bytes) -> Record:
    """The inverse, of bytes that may come from anybody.

    Raises:
        ValueError: no record of this version, in one line.
    """
    record = from_json(*parse_record(body, KINDS))
    if isinstance(record, Opened) and record.version != VERSION:
        raise ValueError(f"version {record.version}, known is {VERSION}; use the uapfp_dist it was made by")
    if datetime.fromisoformat(record.at).utcoffset() != timedelta(0):
        raise ValueError(f"{record.at!r:.40} is no time in UTC")
    return record
