"""What an evaluation shows, as an artifact of the store: a tracker that was away is brought up to date from it."""

import hashlib
import json
import math
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.storage.store import Artifact
from uapfp_dist.tracking.tracker import Tracker

KIND = "publication"


PATIENCE_SECONDS = 120.0
"""How long a tracker that is away is waited for when all else is done, unless $UAPFP_MLFLOW_PATIENCE says otherwise."""


PAUSE_SECONDS = 5.0
"""Between two tries at the end."""


@dataclass(frozen=True)
class NestedRun:
    """A nested run."""

    name: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Publication:
    """All that a tracker is to show of one evaluation."""

    evaluation: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    cards: Sequence[Mapping[str, Any]]
    """Of the models; `number` is a model's place in the plan."""
    suspects: Sequence[NestedRun]
    files: Mapping[str, bytes]
    """Relative path to content."""

    def to_artifact(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON, for the store."""
        files = {name: _as_tensor(data) for name, data in self.files.items()}
        suspects = [vars(suspect) for suspect in self.suspects]
        return files, {**vars(self), "files": sorted(files), "suspects": suspects}

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> "Publication":
        """The inverse of `to_artifact`."""
        suspects = [NestedRun(**entry) for entry in artifact.info["suspects"]]
        files = {name: tensor.numpy().tobytes() for name, tensor in artifact.tensors.items()}
        return cls(**{**artifact.info, "suspects": suspects, "files": files})

    @property
    def digest(self) -> str:
        """Names the content: a run that carries it shows just this."""
        rest = {key: value for key, value in vars(self).items() if key not in ("files", "suspects")}
        text = json.dumps([rest, [vars(suspect) for suspect in self.suspects]], sort_keys=True)
        sha = hashlib.sha256(text.encode())
        for name in sorted(self.files):
            sha.update(name.encode() + b"\0" + hashlib.sha256(self.files[name]).digest())
        return sha.hexdigest()[:20]


def _as_tensor(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.zeros(0, dtype=torch.uint8)


def read_files(folder: Path) -> dict[str, bytes]:
    """Relative path to content of all files below `folder`."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def patience() -> float:
    """Seconds for which a tracker that is away is waited for at the end.

    Raises:
        UserError: $UAPFP_MLFLOW_PATIENCE is no number of seconds.
    """
    text = os.environ.get("UAPFP_MLFLOW_PATIENCE", str(PATIENCE_SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise UserError(f"UAPFP_MLFLOW_PATIENCE: expected seconds, 0 or more, got {text!r}; set it or leave it out")
    return seconds


def publish(publication: Publication, tracker: Tracker, patience: float) -> None:
    """Bring the tracker's run of the evaluation up to the publication; what it shows already is left as it is.

    Args:
        publication: what is to be shown.
        tracker: where; each of its methods is idempotent.
        patience: seconds for which a tracker that is away is tried again.

    Raises:
        ConnectionError: it stayed away.
        UserError: it refuses.
    """
    until = time.monotonic() + patience
    while True:
        try:
            return _replay(publication, tracker)
        except ConnectionError:
            if time.monotonic() >= until:
                raise
            time.sleep(min(PAUSE_SECONDS, max(0.0, until - time.monotonic())))


def _replay(publication: Publication, tracker: Tracker) -> None:
    tags = {**publication.tags, "publication": publication.digest}
    tracker.begin(publication.evaluation, dict(publication.params), tags)
    for card in publication.cards:
        tracker.card(dict(card))
    tracker.metrics(dict(publication.metrics))
    for suspect in publication.suspects:
        tracker.suspect(suspect.name, dict(suspect.tags), dict(suspect.metrics))
    with tempfile.TemporaryDirectory() as folder:
        for name, data in publication.files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        tracker.folder(Path(folder))
    tracker.end("FINISHED")
