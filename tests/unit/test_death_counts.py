"""What is counted around a random death: what was in work, made again, stored again, and when all was back."""

from dataclasses import replace
from pathlib import Path

import pytest
from deaths_by_hand import AGAIN, ATTEMPTS, BEFORE, DEATH, ELSEWHERE, STORED
from faults.counting import Attempt, Stored, count, in_flight, read_attempts, read_journal, recovery_seconds
from faults.s3_server import journaled


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
