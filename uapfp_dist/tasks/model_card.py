"""What is known of a trained model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import Field


@dataclass(frozen=True)
class ModelCard:
    """What is known of a trained model, measured on EVAL."""

    id: str
    architecture: str
    optimizer: str
    batch_size: int
    origin: str
    """`trained:<set>` or `<attack>:<labels>`, such as `knockoff:hard, .5 true of cloudleak:hard` of a twofold theft."""
    seed: int
    accuracy: float
    recovery: float | None
    """Accuracy over the accuracy of the victim it was extracted from (protocol 2.4)."""
    agreement: float | None
    """Share of EVAL on which it predicts what the victim it was extracted from predicts."""
    queries: int
    """Images sent to that victim."""
    attempt: int
    steps: int
    train_digest: str
    """Digest of the indices of its natural training images."""
    seconds: float
    device: str
    modifications: Annotated[tuple[str, ...], Field(alias="changes")] = ()
    """After training or extraction; `changes` in JSON."""
    accuracy_before: float | None = None
    """Of the model that was modified."""
    precision: str = "float32"
    """In which it was trained; not in the JSON of cards at its default, which those of before lack."""

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary under the wire names of the fields."""
        card = asdict(self)
        if self.precision == "float32":
            del card["precision"]
        return card | {"changes": card.pop("modifications")}
