"""The script of random deaths: what it counts, compares and chooses, and the server that it counts by."""

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faults.chance import EARLY_SECONDS, VICTIMS, draw_fault
from faults.counting import Attempt, Stored, count, in_flight, read_attempts, read_journal, recovery_seconds
from faults.deaths import Death, Record, Run
from faults.s3_server import journaled
from faults.work import Output, differences, read_output
from system import ROOT, free_ports, wait_until

from uapfp_dist.results import deaths
from uapfp_dist.serialization import from_json, to_json

DEATH = 100.0
BEFORE = Attempt("model/a", "n1", 10.0, 20.0)
LOST = Attempt("model/b", "n1", 90.0, 105.0)
AGAIN = Attempt("model/b", "n2", 106.0, 110.0)
ELSEWHERE = Attempt("model/c", "n2", 95.0, 120.0)
ATTEMPTS = [BEFORE, LOST, AGAIN, ELSEWHERE]
STORED = [Stored(19.0, "model/a"), Stored(109.0, "model/b"), Stored(119.0, "model/c")]


# --- counting


def test_what_the_dead_was_at_work_on_may_be_made_again() -> None:
    lost = in_flight(ATTEMPTS, DEATH, DEATH, "n1")
    assert lost == {"model/b"}
    found = count(ATTEMPTS, STORED, lost)
    assert (found.made, found.in_flight, found.made_again, found.stored_again, found.unseen) == (3, 1, 1, 0, 0)
    assert found.beyond == ()


@pytest.mark.parametrize("again", [BEFORE, ELSEWHERE])
def test_anything_else_may_not(again: Attempt) -> None:
    """Neither what was stored before the death nor what went on elsewhere."""
    more = replace(again, began=130.0, ended=140.0)
    assert count([*ATTEMPTS, more], STORED, {"model/b"}).beyond == (again.spec,)


def test_a_third_try_is_beyond_one_death() -> None:
    third = replace(AGAIN, began=130.0, ended=140.0)
    assert count([*ATTEMPTS, third], STORED, {"model/b"}).beyond == ("model/b",)


def test_what_is_stored_twice_counts_though_nobody_saw_it_begin() -> None:
    """Ray's record may be lost with a host; the object store's is not."""
    found = count(ATTEMPTS, [*STORED, Stored(130.0, "model/a")], {"model/b"})
    assert (found.stored_again, found.beyond) == (1, ("model/a",))
    found = count([], STORED, set())
    assert (found.made, found.unseen) == (0, 3)


def test_scores_of_the_central_actor_are_counted_and_what_every_start_writes_is_not() -> None:
    twice = [Stored(at, f"{kind}/x") for kind in ("draw", "plan", "report", "splits") for at in (1.0, 2.0)]
    found = count(ATTEMPTS, [*STORED, *twice], {"model/b"})
    assert (found.stored_again, found.beyond, found.unseen) == (1, ("draw/x",), 0)


def test_a_task_without_an_end_is_in_work() -> None:
    assert in_flight([replace(BEFORE, ended=None)], DEATH, DEATH) == {"model/a"}
    assert in_flight([BEFORE], DEATH, DEATH) == set()
    assert in_flight([AGAIN], DEATH, DEATH) == set(), "it began after it"


def test_what_takes_a_while_to_die_may_begin_more() -> None:
    assert in_flight([AGAIN], DEATH, 107.0) == {"model/b"}
    assert in_flight([replace(BEFORE, ended=99.0)], DEATH, 107.0) == set()


def test_recovery_is_until_all_that_was_lost_is_stored_else_until_the_next_artifact() -> None:
    assert recovery_seconds(STORED, {"model/b", "model/c"}, DEATH) == 19.0
    assert recovery_seconds(STORED, set(), DEATH) == 9.0
    assert recovery_seconds(STORED, set(), 200.0) is None


def test_tasks_of_ray_that_are_specs_and_were_begun() -> None:
    task = {
        "name": "Worker.perform model 0123456789abcdef0123",
        "node_id": "n",
        "start_time_ms": 1500.0,
        "end_time_ms": 2500.0,
    }
    tasks = [
        task,
        task | {"end_time_ms": None},
        task | {"start_time_ms": None},  # handed to a worker that was dead already
        task | {"name": "Worker.start"},
        task | {"name": "_Host.call"},
    ]
    spec = "model/0123456789abcdef0123"
    assert read_attempts(tasks) == [Attempt(spec, "n", 1.5, 2.5), Attempt(spec, "n", 1.5, None)]


# --- the journal


def test_the_journal_holds_what_was_taken_in_its_folder(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    assert read_journal(journal, "b/run-1") == []
    statuses = {"/b/run-1/model/a.safetensors": "200 OK", "/b/run-1/model/b.safetensors": "503 Busy"}

    def app(environ: dict, start) -> list[bytes]:  # type: ignore[no-untyped-def, type-arg]
        start(statuses.get(environ["PATH_INFO"], "200 OK"), [])
        return [b"x"]

    watched = journaled(app, journal)
    others = ("/b", "/b/run-1/store.json", "/b/run-11/model/c.safetensors")
    for method, path in [("GET", next(iter(statuses))), *(("PUT", path) for path in (*statuses, *others))]:
        assert list(watched({"REQUEST_METHOD": method, "PATH_INFO": path}, lambda *_: None)) == [b"x"]
    with journal.open("a") as file:
        file.write('[12.0, "b/run-1/model/half')
    assert [one.spec for one in read_journal(journal, "b/run-1")] == ["model/a"]


HEADERS = {"Content-Type": "x/x", "Authorization": "AWS none:none"}


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]", list[str]]]:
    """The server's address, its front, and the front's command."""
    front_port, port = map(str, free_ports(2))
    script = [sys.executable, str(ROOT / "jobs" / "faults" / "s3_server.py")]
    front = [*script, "front", "127.0.0.1", front_port, port]
    started = [
        subprocess.Popen([*script, "objects", port, str(tmp_path / "journal")], stderr=subprocess.DEVNULL),
        subprocess.Popen(front, stderr=subprocess.DEVNULL),
    ]
    try:
        for each in (port, front_port):
            wait_until(lambda each=each: listens(int(each)), 60.0, "the server")  # type: ignore[misc]
        yield f"http://127.0.0.1:{front_port}", started[1], front
    finally:
        for process in started:
            process.kill()
            process.wait(timeout=30)


def listens(port: int) -> bool:
    """Whether anything does there."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5.0):
        return True
    return False


def put(url: str, data: bytes = b"") -> None:
    """Store an object."""
    with urllib.request.urlopen(
        urllib.request.Request(url, data, {"Content-Type": "x/x"}, method="PUT"), timeout=30
    ) as answer:
        assert answer.status == 200


def test_a_server_that_was_gone_has_its_objects(
    servers: tuple[str, "subprocess.Popen[bytes]", list[str]], tmp_path: Path
) -> None:
    url, front, command = servers
    put(f"{url}/bucket")
    put(f"{url}/bucket/run-1/model/a.safetensors", b"abc")
    front.kill()
    front.wait(timeout=30)
    with pytest.raises(urllib.error.URLError):
        put(f"{url}/bucket/run-1/model/b.safetensors")
    again = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(int(url.rsplit(":", 1)[1])), 60.0, "the front")
        stored = urllib.request.Request(f"{url}/bucket/run-1/model/a.safetensors", headers=HEADERS)
        with urllib.request.urlopen(stored, timeout=30) as answer:
            assert answer.read() == b"abc"
    finally:
        again.kill()
        again.wait(timeout=30)
    assert [one.spec for one in read_journal(tmp_path / "journal", "bucket/run-1")] == ["model/a"]


# --- comparing


REPORT = {
    **{"verdicts": [{"p": 0.5}], "auc": 0.25, "failures": [], "wall_seconds": 3.0, "stage_seconds": {}},
    **{"models": {"trained": 3, "reused": 1, "failed": 0}, "workers_busy": 0.5, "environment": {}},
}


def report(folder: Path, **changed: object) -> Output:
    """As a job writes it."""
    folder.mkdir(exist_ok=True)
    (folder / "report.json").write_text(json.dumps(REPORT | changed))
    return read_output("evaluation", folder)


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


# --- a run


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


# --- choosing


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
