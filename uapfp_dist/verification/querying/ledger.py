"""The responses and queries that a transcript holds."""

from collections.abc import Sequence

from uapfp_dist.errors import UserError
from uapfp_dist.verification.querying.records import Answered, Failed, Record, Sent


class Ledger:
    """Responses and queries of one suspect.

    An image counts as a query from the moment it may have been sent, whether or not its response came.

    Args:
        records: of one transcript.

    Raises:
        UserError: a response to what was never sent.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.responses: dict[int, list[object]] = {}
        """Image to its responses, the first one first."""
        self.queries = 0
        """Images sent, those without a response counted."""
        self.failures = 0
        """Batches without a response."""
        self._asked: dict[int, tuple[int, ...]] = {}
        batches: dict[int, tuple[int, ...]] = {}
        try:
            for record in records:
                self._take(record, batches)
        except (KeyError, ValueError) as error:
            raise UserError(
                "transcript: expected records of batches and their answers, got others; take a complete one"
            ) from error

    @property
    def asked(self) -> frozenset[int]:
        """Images that may have been sent."""
        return frozenset(image for images in self._asked.values() for image in images)

    def _take(self, record: Record, batches: dict[int, tuple[int, ...]]) -> None:
        match record:
            case Sent(batch, images):
                batches[batch] = self._asked[batch] = images
                self.queries += len(images)
            case Failed(batch, counts=counts):
                self.failures += 1
                images = batches.pop(batch)
                if not counts:
                    self.queries -= len(images)
                    del self._asked[batch]
            case Answered(batch, answers):
                for image, answer in zip(batches.pop(batch), answers, strict=True):
                    self.responses.setdefault(image, []).append(answer)
