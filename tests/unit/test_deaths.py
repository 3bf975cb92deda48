"""The script of random deaths: what it chooses, compares, and takes for survived."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from deaths_by_hand import ATTEMPTS, BEFORE, DEATH, STORED, report
from faults.chance import EARLY_SECONDS, VICTIMS, draw_fault
from faults.counting import Attempt, Stored
from faults.deaths import Death, Record, Run
from faults.work import Output, differences, read_output

from uapfp_dist.results import deaths
from uapfp_dist.serialization import from_json, to_json


def test_reports_differ_by_what_they_say_and_not_by_how_it_came_about(tmp_path: Path) -> None:
    reference = report(tmp_path)
    resumed = report(tmp_path, models={"trained": 1, "reused": 3, "failed": 0}, wall_seconds=9.0, workers_busy=0.1)
    assert differences(resumed, reference) == []
    assert differences(report(tmp_path, verdicts=[{"p": 0.5000000000000001}]), reference) == ["verdicts"]
    assert differences(report(tmp_path, more=1), reference) == ["more"]
    lost = report(tmp_path, models={"trained": 3, "reused": 0, "failed": 1})
    assert differences(lost, reference) == ["3 models, 1 failed"]


def test_kits_differ_by_all_but_their_costs(tmp_path: Path) -> None:
    def kit(seconds: float, alpha: float = 0.5, tensors: bytes = b"x") -> Output:
        info = {"alpha": alpha, "costs": {"models": 4, "failed": 0, "model_seconds": seconds}}
        folder = tmp_path / "kit"
        folder.mkdir(exist_ok=True)
        (folder / "kit.json").write_text(json.dumps({"digest": str(seconds), "kit": {"info": info, "files": {}}}))
        (folder / "kit.safetensors").write_bytes(tensors)
        return read_output("enrolment", tmp_path)

    reference = kit(1.0)
    assert differences(kit(2.0), reference) == []
    assert differences(kit(1.0, alpha=0.25), reference) == ["info"]
    assert differences(kit(1.0, tensors=b"y"), reference) == ["tensors"]


class FakeCluster:
    """Jobs end at once.

    Args:
        codes: exit codes of the jobs, one after the other.
        attempts: what Ray recorded.
    """

    def __init__(self, codes: list[int], attempts: list[Attempt] = ATTEMPTS) -> None:
        self.codes, self._attempts = codes, attempts
        self.submitted: list[str] = []

    def submit(self, name: str, kind: str, folder: Path) -> SimpleNamespace:
        """Ends at once; a successful one has a report."""
        self.submitted.append(name)
        if not (code := self.codes.pop(0)):
            report(folder)
        return SimpleNamespace(poll=lambda: code, returncode=code)

    def attempts(self, submissions: list[str]) -> list[Attempt]:
        """Of all its jobs."""
        assert submissions == self.submitted
        return self._attempts

    def stored(self, folder: str) -> list[Stored]:
        """Of a run."""
        assert self.submitted[0] == f"{folder}-1"
        return STORED


HOST = Death("worker host", DEATH, DEATH, "host4", "n1")
DRIVER = Death("driver", DEATH, DEATH, "2 processes")


def recorded(cluster: Any, death: Death, folder: Path) -> Record:
    """The record of a run with a death."""
    (folder / "empty.db").touch()
    run = Run(cluster, folder / "run", "evaluation", folder / "empty.db")
    record = run.record(7, draw_fault(7, "evaluation", 18), death, report(folder))
    shown = from_json(deaths.Run, to_json(record))  # as the page of results reads it
    assert (shown.seed, shown.survived, shown.count.made_again) == (7, record.survived, record.count.made_again)
    return record


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for that is not there."""
    monkeypatch.setattr("faults.deaths.LAST_EVENTS_SECONDS", 0.0)
    monkeypatch.setattr("faults.deaths.JOB_SECONDS", 0.0)


def test_a_death_that_was_survived(tmp_path: Path) -> None:
    cluster = FakeCluster([0])
    record = recorded(cluster, HOST, tmp_path)
    assert record.survived
    assert (record.count.in_flight, record.count.made_again, record.stored) == (1, 1, 1)
    assert record.recovery_seconds == 9.0
    assert cluster.submitted == ["run-1"]


def test_only_a_killed_drivers_job_is_submitted_again(tmp_path: Path) -> None:
    cluster = FakeCluster([1, 0])
    assert recorded(cluster, DRIVER, tmp_path).survived
    assert cluster.submitted == ["run-1", "run-2"]


def test_a_job_that_fails_was_not_survived(tmp_path: Path) -> None:
    record = recorded(FakeCluster([2]), HOST, tmp_path)
    assert not record.survived
    assert record.error == "expected the job to succeed, it ended with 2"


def test_a_job_that_does_not_end_was_not_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster([0])
    monkeypatch.setattr(cluster, "submit", lambda *_: SimpleNamespace(poll=lambda: None))
    monkeypatch.setattr(cluster, "attempts", lambda _: [])
    monkeypatch.setattr(cluster, "stored", lambda _: [])
    assert recorded(cluster, HOST, tmp_path).error == "expected the job to end within 0 s"


def test_what_is_made_again_though_it_was_stored_was_not_survived(tmp_path: Path) -> None:
    more = replace(BEFORE, began=130.0, ended=140.0)
    record = recorded(FakeCluster([0], [*ATTEMPTS, more]), HOST, tmp_path)
    assert record.verdicts_equal
    assert not record.survived
    assert record.count.beyond == ("model/a",)


def test_nothing_may_be_made_again_for_a_central_actor(tmp_path: Path) -> None:
    """Workers do not notice its death."""
    record = recorded(FakeCluster([0]), replace(DRIVER, victim="central actor"), tmp_path)
    assert record.count.beyond == ("model/b",)


def test_a_death_follows_from_its_seed() -> None:
    faults = [draw_fault(seed, "evaluation", 18) for seed in range(200)]
    assert faults == [draw_fault(seed, "evaluation", 18) for seed in range(200)]
    assert len({fault.delay for fault in faults}) > 100
    assert {fault.after for fault in faults} == set(range(19)), "at the start, between all models, after the last"
    assert all(0.0 <= fault.delay <= EARLY_SECONDS for fault in faults)
    assert {fault.silent for fault in faults} == {False, True}


def test_victims_are_dealt_evenly_in_a_random_order() -> None:
    for kind, victims in VICTIMS.items():
        dealt = [draw_fault(seed, kind, 18).victim for seed in range(len(victims) * 20)]
        assert Counter(dealt) == dict.fromkeys(victims, 20)
        assert len({tuple(dealt[i : i + len(victims)]) for i in range(0, len(dealt), len(victims))}) > 3
    assert "central actor" not in VICTIMS["enrolment"]
