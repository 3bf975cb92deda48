"""All that a tracker shows of an evaluation, kept as an artifact: a tracker can be brought up to date at any time."""

import hashlib
import json
import math
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.storage.store import Artifact, Store
from uapfp_dist.tracking.tracker import RunParams, Tracker

KIND = "publication"
VERSION = 6
"""Of what is published. Raise it when the page, tables, figures or metrics change: a finished evaluation is then judged
again, from what is stored, and its run brought up to date."""
PATIENCE_SECONDS = 120.0
"""For which an unreachable tracker is tried again at the end, unless $UAPFP_MLFLOW_PATIENCE says otherwise."""
PAUSE_SECONDS = 5.0
"""Between two tries."""


@dataclass(frozen=True)
class NestedRun:
    """A judged model, or a trial of a grid."""

    name: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Publication:
    """All that a tracker shows of one evaluation."""

    evaluation: str
    params: RunParams
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    cards: Sequence[Mapping[str, Any]]
    """Of the models, as JSON; `number` is a model's place in the plan."""
    suspects: Sequence[NestedRun]
    files: Mapping[str, bytes]
    """Relative path to content."""
    version: int = VERSION
    numbers: Mapping[str, float] = field(default_factory=dict)
    """More than the metrics, by the names they had as metrics of earlier code, whose runs are brought up to date."""

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
        return cls(**{"version": 1, **artifact.info, "suspects": suspects, "files": files})

    @property
    def digest(self) -> str:
        """Identifies the content: a run with this tag shows exactly this."""
        rest = {key: value for key, value in vars(self).items() if key not in ("files", "suspects")}
        if self.version == 1:  # as in publications by earlier code
            del rest["version"], rest["numbers"]
        text = json.dumps([rest, [vars(suspect) for suspect in self.suspects]], sort_keys=True)
        sha = hashlib.sha256(text.encode())
        for name in sorted(self.files):
            sha.update(name.encode() + b"\0" + hashlib.sha256(self.files[name]).digest())
        return sha.hexdigest()[:20]


def _as_tensor(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.zeros(0, dtype=torch.uint8)


def read_files(folder: Path) -> dict[str, bytes]:
    """Relative path to content of all files in `folder`."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def patience() -> float:
    """Seconds for which an unreachable tracker is tried again at the end.

    Raises:
        UserError: $UAPFP_MLFLOW_PATIENCE is not a number of seconds.
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
    """Bring the tracker's run of an evaluation up to date; what it shows already is not sent again.

    Args:
        publication: what to show.
        tracker: where to show it.
        patience: seconds for which an unreachable tracker is tried again.

    Raises:
        ConnectionError: it could not be reached for so long.
        UserError: it refuses.
    """
    until = time.monotonic() + patience
    while True:
        try:
            return _publish(publication, tracker)
        except ConnectionError:
            if time.monotonic() >= until:
                raise
            time.sleep(min(PAUSE_SECONDS, max(0.0, until - time.monotonic())))


def publish_stored(store: Store, evaluation: str, tracker: Tracker) -> str:
    """Publish what is stored of an evaluation, or a grid; returns why that was not possible, or an empty string."""
    publication = Publication.from_artifact(store.get(KIND, evaluation))
    try:
        publish(publication, tracker, patience())
    except (ConnectionError, UserError) as error:
        return str(error)
    return ""


def _publish(publication: Publication, tracker: Tracker) -> None:
    tags = {**publication.tags, "publication": publication.digest}
    tracker.start_run(publication.evaluation, publication.params, tags)
    for card in publication.cards:
        tracker.log_model(float(card["accuracy"]), card.get("number"))
    tracker.log_metrics(publication.metrics)
    tracker.refresh_metrics(publication.numbers)
    for suspect in publication.suspects:
        tracker.log_suspect(suspect.name, suspect.tags, suspect.metrics)
    with tempfile.TemporaryDirectory() as folder:
        for name, data in publication.files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        tracker.log_files(Path(folder))
    tracker.end_run("FINISHED")
