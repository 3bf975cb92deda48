"""verdict.json: verdicts with what was sent for them. Further keys may come; these stay."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from uapfp_dist.serialization import json_schema, to_json
from uapfp_dist.verification.judging.verdict import Count, SuspectVerdict
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.querying.records import SuspectRecord
from uapfp_dist.verification.replay import JudgedSuspect

SCHEMA_VERSION: Literal[1] = 1

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class PublishedVerdict(SuspectVerdict):
    """The verdict on one suspect, and the evidence for it."""

    queries_sent: Annotated[Count, Field(description="images sent, tries without an answer counted")]
    failed_requests: Count
    asked_as: SuspectRecord
    """As its transcript says."""
    transcript_sha256: Digest


@dataclass(frozen=True)
class VerdictFile:
    """Verdict on one or more suspects."""

    schema: Literal[1]
    kit: Annotated[Digest, Field(description="digest of the kit: the commitment")]
    suspects: Annotated[tuple[PublishedVerdict, ...], Field(min_length=1)]


def verdict_json(kit: Kit, cases: Sequence[JudgedSuspect]) -> Any:
    """What verdict.json holds; nothing in it depends on when or where it was made."""
    return to_json(VerdictFile(SCHEMA_VERSION, kit.digest, tuple(map(_published, cases))))


def verdict_schema() -> Any:
    """The published form of verdict.json (JSON Schema, draft 2020-12)."""
    return json_schema(VerdictFile)


def _published(case: JudgedSuspect) -> PublishedVerdict:
    return PublishedVerdict(
        **vars(case.verdict),
        queries_sent=case.ledger.queries,
        failed_requests=case.ledger.failures,
        asked_as=case.begin.suspect,
        transcript_sha256=case.sha256,
    )
