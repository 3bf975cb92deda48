"""A publication: whole in the store, told apart by its digest, sent again until the tracker is back."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from publications import PUBLICATION

from uapfp_dist.errors import UserError
from uapfp_dist.storage.store import Store
from uapfp_dist.tracking.live import LiveTracker
from uapfp_dist.tracking.publication import KIND, Publication, patience, publish
from uapfp_dist.tracking.tracker import NullTracker, RunParams


class Mortal(NullTracker):
    """A tracker that counts its calls and is away for some of them."""

    def __init__(self, away: Callable[[int], bool]) -> None:
        self.calls: list[str] = []
        self._away = away

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self._away(len(self.calls)):
            raise ConnectionError("away")

    def start_run(self, evaluation: str, params: RunParams, tags: Mapping[str, str]) -> None:
        self._call("start_run")

    def log_model(self, accuracy: float, number: int | None = None) -> None:
        self._call("log_model")

    def end_run(self, status: str) -> str:
        self._call("end_run")
        return "there"


# --- the artifact


def test_a_publication_survives_the_store(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.put(KIND, "k", *PUBLICATION.to_artifact())
    found = Publication.from_artifact(store.get(KIND, "k"))
    assert found == PUBLICATION
    assert found.digest == PUBLICATION.digest


def test_a_publication_by_earlier_code_keeps_its_digest(tmp_path: Path) -> None:
    """It has no version: a run that shows it is not written again."""
    tensors, info = PUBLICATION.to_artifact()
    del info["version"]
    Store(str(tmp_path)).put(KIND, "k", tensors, info)
    found = Publication.from_artifact(Store(str(tmp_path)).get(KIND, "k"))
    assert found == replace(PUBLICATION, version=1)
    assert found.digest != PUBLICATION.digest
    bare = replace(found, tags={"preset": "digits", "victim": "v"})
    assert bare.digest == "271df033095f189e45d2"


@pytest.mark.parametrize(
    "change",
    [
        {"version": 1},
        {"evaluation": "f"},
        {"metrics": {"auc/uap": 0.3}},
        {"numbers": {"auc/uap": 0.3}},
        {"suspects": PUBLICATION.suspects[1:]},
        {"files": {**PUBLICATION.files, "empty.txt": b"0"}},
        {"tags": {}},
    ],
)
def test_every_part_counts_for_the_digest(change: dict[str, Any]) -> None:
    assert replace(PUBLICATION, **change).digest != PUBLICATION.digest


# --- patience


def test_publishing_starts_over_until_the_tracker_is_back() -> None:
    tracker = Mortal(lambda call: call <= 3)
    publish(PUBLICATION, tracker, 60.0)
    assert tracker.calls == ["start_run"] * 3 + ["start_run", "log_model", "log_model", "log_model", "end_run"]


def test_patience_has_an_end() -> None:
    with pytest.raises(ConnectionError, match="away"):
        publish(PUBLICATION, Mortal(lambda call: True), 0.5)


@pytest.mark.parametrize("text", ["soon", "-1", "inf", "nan"])
def test_patience_that_is_no_number(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UAPFP_MLFLOW_PATIENCE", text)
    with pytest.raises(UserError, match="expected seconds"):
        patience()


def test_while_the_work_goes_on_a_tracker_that_is_away_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its timeouts would add up over thousands of models."""
    monkeypatch.setattr("uapfp_dist.tracking.live.RETRY_SECONDS", 3600.0)
    tracker = Mortal(lambda call: True)
    live = LiveTracker(tracker)
    assert live.start_run("e", {}, {}) == "away"
    for _ in range(100):
        live.log_model(0.5)
    assert tracker.calls == ["start_run"]
    assert live.end_run("FAILED") == ""


def test_a_tracker_that_comes_back_is_opened_first() -> None:
    tracker = Mortal(lambda call: call <= 2)
    live = LiveTracker(tracker)
    live.start_run("e", {}, {})
    for _ in range(3):
        live.log_model(0.5)
    assert tracker.calls == ["start_run", "start_run", "start_run", "log_model", "log_model"]
