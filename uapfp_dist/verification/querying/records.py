"""The records of a transcript.

The JSON of each has its `kind` and its fields. What is read from a file, which may come from anybody, is validated.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Strict, StrictFloat, WithJsonSchema

from uapfp_dist.serialization import from_json
from uapfp_dist.verification.querying.record_chain import parse_record

FORMAT = 2

Index = Annotated[int, Strict()]
"""1.0 and True are 1 to a dictionary, but no index."""
Plain = str | Index | None
Shown = Plain | Sequence[Plain] | Mapping[str, Plain]
"""A value that is only shown."""

SuspectRecord = Annotated[
    dict[str, Shown], WithJsonSchema({"type": "object", "required": ["name", "at", "kind", "output"]})
]
"""What decides a suspect's responses: name, output, classes, and how it was reached."""


@dataclass(frozen=True)
class Judged:
    """The suspects that are judged together."""

    names: tuple[str, ...]
    alpha: StrictFloat
    """Tolerated rate of false accusation over all of them."""


@dataclass(frozen=True, kw_only=True)
class Begin:
    """Who is queried by which kit, and how.

    Raises:
        ValueError: a suspect without a name or a form of output, or with classes that are no texts.
    """

    kind: ClassVar = "begin"
    format: int = FORMAT
    made_by: dict[str, Shown] | None = None
    """Versions that queried; older transcripts do not say."""
    kit: str
    """Its digest."""
    suspect: SuspectRecord
    judged: Judged
    seed: int = 0
    """Of the order in which images are sent."""
    max_queries: Index | None = None
    """Of the first run: with the kit it settles what is queried."""
    point_set: Index | None = None
    """Which of the kit's sets of churn points is sent; None for a kit without any."""
    exact: bool | None = None
    """The images of the exact test are sent, too; None where they are not."""
    nonce: str | None = None
    """Tells tests apart that begin alike; None where no register is kept."""
    fatal_is_one: bool | None = None
    """Answers that are not sane count as p = 1 among the suspects corrected for; None in older transcripts, whose
    verdicts took them by their p-value."""

    def __post_init__(self) -> None:
        """Fields of the suspect that are more than shown have the types they should have."""
        classes: Any = self.suspect.get("classes") or ()
        texts = [self.suspect.get("name"), self.suspect.get("output"), *classes]
        texts += classes.values() if isinstance(classes, Mapping) else ()
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("expected texts as name, output and classes of the suspect")

    @property
    def name(self) -> str:
        """The suspect's."""
        return str(self.suspect["name"])

    @property
    def output(self) -> str:
        """Its form of output."""
        return str(self.suspect["output"])

    @property
    def classes(self) -> Sequence[str] | Mapping[str, str] | None:
        """Its classes where they are not the kit's."""
        classes: Any = self.suspect.get("classes")
        return classes  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Sent:
    """Images are about to be sent: from now on they count."""

    kind: ClassVar = "sent"
    batch: Index
    """Its number."""
    images: tuple[Index, ...]
    """Indices in the kit's order."""
    at: str
    """UTC."""


@dataclass(frozen=True)
class Answered:
    """A batch came back."""

    kind: ClassVar = "answered"
    batch: Index
    answers: tuple[object, ...]
    """One JSON value for each image, as it came."""


@dataclass(frozen=True)
class Failed:
    """A batch did not come back."""

    kind: ClassVar = "failed"
    batch: Index
    why: str
    counts: bool
    """False when certainly nothing was sent."""


@dataclass(frozen=True)
class Certificate:
    """The answers from here on came under this certificate of the server."""

    kind: ClassVar = "certificate"
    sha256: str
    """Of its DER bytes."""


@dataclass(frozen=True)
class Stopped:
    """It was given up for now; more may follow."""

    kind: ClassVar = "stopped"
    why: str


@dataclass(frozen=True)
class End:
    """Every image that had to be answered was."""

    kind: ClassVar = "end"
    wanted: int
    """How many those were."""


Record = Begin | Sent | Answered | Failed | Certificate | Stopped | End
KINDS: dict[str, type[Record]] = {
    kind.kind: kind for kind in (Begin, Sent, Answered, Failed, Certificate, Stopped, End)
}


class OtherFormatError(ValueError):
    """A transcript of another version."""


def encode_record(record: Record) -> bytes:
    """JSON in one line."""
    return json.dumps({"kind": record.kind, **vars(record)}, default=vars).encode()


def decode_record(body: bytes) -> Record:
    """The inverse, of bytes that may come from anybody.

    Raises:
        OtherFormatError: the first record of another format.
        ValueError: no record, in one line.
    """
    kind, found = parse_record(body, KINDS)
    if kind is Begin and found.get("format") != FORMAT:
        raise OtherFormatError(f"expected format {FORMAT}, got {found.get('format')!r:.20}")
    return from_json(kind, found)
