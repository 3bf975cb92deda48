"""A suspect that keeps what it is sent, queried fully, and what its transcript holds."""

from pathlib import Path
from typing import Any

import torch
from faulty_server import Endpoint
from torch import Tensor

from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.registry import open_suspect
from uapfp_dist.suspects.suspect import Suspect
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.querying.ledger import Ledger
from uapfp_dist.verification.querying.record_chain import record_of
from uapfp_dist.verification.querying.records import Begin, Judged, decode_record
from uapfp_dist.verification.querying.session import query_all
from uapfp_dist.verification.querying.transcript import Transcript, read_transcript

IMAGES = torch.arange(200, dtype=torch.uint8).view(200, 1, 1, 1)
REQUIRED = torch.arange(0, 200, 2)
BEGIN = Begin(kit="a" * 64, suspect={"name": "s", "output": "probabilities"}, judged=Judged(("s",), 0.05))


def first_pixels(images: Any) -> list[list[int]]:
    """A model whose response says which image it was sent."""
    return [[round(float(image.ravel()[0] * 255)), 0] for image in images]


class Recorder:
    """A suspect that keeps what it was sent and fails as told."""

    def __init__(self, failures: dict[int, Exception] | None = None) -> None:
        self.calls: list[list[int]] = []
        self._failures = failures or {}

    def query(self, images: Tensor, timeout: float) -> list[Any]:
        self.calls.append(images.flatten().tolist())
        if error := self._failures.get(len(self.calls)):
            raise error
        return [[value, 0] for value in images.flatten().tolist()]


def query(suspect: Suspect, path: Path, how: QueryConfig | None = None, required: Tensor = REQUIRED) -> Ledger:
    """Query fully; the ledger is read back from the file, as a third party would."""
    transcript = Transcript(path, BEGIN)
    try:
        query_all(suspect, IMAGES, required, transcript, how or QueryConfig())
    finally:
        transcript.close()
    return Ledger(read_transcript(path, BEGIN.kit))


def over_http(endpoint: Endpoint) -> Suspect:
    return open_suspect(SuspectConfig(at=endpoint.url), (1, 1, 1), 2)


def right(ledger: Ledger) -> bool:
    """Every required image has a response, and it is its own."""
    own = all(answer == [image, 0] for image, given in ledger.responses.items() for answer in given)
    return own and set(ledger.responses) == set(REQUIRED.tolist())


def records_in(path: Path) -> Ledger:
    """Of a transcript that may not be finished."""
    return Ledger([decode_record(record_of(line)) for line in path.read_bytes().splitlines(keepends=True)])


def spent(path: Path) -> int:
    """Queries in a transcript that may not be finished."""
    return records_in(path).queries
