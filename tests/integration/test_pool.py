"""The pool on real Ray: nodes that come, workers that die, hang, run out of memory or see another storage."""

import io
from pathlib import Path
from typing import Any

import pytest
from ray_cases import Task, lines, on_ray


def test_specs_are_done_on_ray(tmp_path: Path) -> None:
    found = on_ray("first", tmp_path)["outcomes"]
    assert found["raise"][0].startswith("ValueError: no good")
    assert found["after-raise"][2], "skipped"
    assert found["fine"][0] == ""
    assert lines(tmp_path, "fine") == 1


@pytest.mark.slow
def test_what_fails_is_shown_and_all_else_is_done(tmp_path: Path) -> None:
    """A spec that kills its worker, one that hangs, one that raises; one whose error passes is done in the end."""
    result = on_ray("faults", tmp_path)
    found = result["outcomes"]
    assert found["die"][0] == "worker died: its process ended (3 times)"
    assert found["hang"][0] == "took longer than 5 s (3 times)"
    assert found["raise"][0].startswith("ValueError: no good")
    assert found["raise"][1].splitlines()[-1] == "ValueError: no good"
    assert found["flaky"][0] == ""
    assert [lines(tmp_path, name) for name in ("die", "hang", "raise", "flaky")] == [3, 3, 1, 3]
    for name in ("die", "hang", "raise"):
        assert found[f"after-{name}"][2], "skipped"
        assert not (tmp_path / f"after-{name}").exists()
    fine = [name for name in found if name.startswith("fine")] + ["after-flaky"]
    assert all(found[name][0] == "" and lines(tmp_path, name) == 1 for name in fine)
    assert len(fine) == 5
    assert result["deaths"] == 6


@pytest.mark.slow
def test_out_of_memory_is_shown_as_such(tmp_path: Path) -> None:
    import psutil

    if psutil.virtual_memory().available < 6e9:
        pytest.skip("needs 6 GB of free memory")
    found = on_ray("memory", tmp_path)["outcomes"]
    assert "out of memory" in found["devour"][0]
    assert "(3 times)" in found["devour"][0]
    assert "memory" in found["devour"][1]
    assert found["after-devour"][2]
    assert found["fine"][0] == ""


@pytest.mark.slow
def test_every_worker_sees_exactly_its_own_device(tmp_path: Path) -> None:
    """The GPUs are declared, whether or not there are any; large and tiny nets share them, neither waits for ever."""
    found = on_ray("pinned", tmp_path)

    def devices(kind: str) -> list[str]:
        return sorted((tmp_path / name).read_text().strip() for name in found[kind])

    assert devices("whole") == ["0", "1"]
    assert devices("half") == ["0", "0", "1", "1"]
    assert len({worker for _, worker, _ in found["half"].values()}) == 4
    assert set(devices("mixed")) == {"0", "1"}
    assert all(error == "" for error, _, _ in found["mixed"].values())
    assert len(found["mixed"]) == 15


@pytest.mark.slow
def test_what_finds_a_full_gpu_is_tried_again_alone(tmp_path: Path) -> None:
    """In a process of its own; what does not fit then either is reported, the rest is done."""
    result = on_ray("crowded", tmp_path)
    found = result["outcomes"]
    assert found["full"][0] == "the GPU ran out of memory: it wanted 2.00 GiB more; alone on a GPU"
    assert [found[name][0] for name in found if name != "full"] == [""] * 5
    assert (lines(tmp_path, "full"), lines(tmp_path, "crowded"), lines(tmp_path, "nap-0")) == (2, 2, 1)
    assert result["shown"].count("it is tried again alone on a GPU") == 2


def test_a_full_gpu_is_no_reason_to_try_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same without Ray: first a quarter of a GPU, then a whole one, then a failure."""
    from uapfp_dist.cluster import pool as module
    from uapfp_dist.cluster.worker_group import WorkerHandle
    from uapfp_dist.progress import Progress
    from uapfp_dist.tasks.outcomes import Failed

    spec, shown, killed = Task("large"), io.StringIO(), list[str]()
    failed = Failed(spec, "the GPU ran out of memory: it wanted 2.00 GiB more", transient=True, gpu_full=True)
    monkeypatch.setattr(module.ray, "get", lambda reference: failed)
    monkeypatch.setattr(module.ray, "kill", killed.append)
    pool = module.RayPool(lambda: print, lambda spec: 0.25, lambda spec: 60.0, progress=Progress(1, shown))
    pool.submit(spec)
    for share, expected in ((0.25, []), (1.0, ["the GPU ran out of memory: it wanted 2.00 GiB more; alone on a GPU"])):
        task = pool._queues[share].popleft()
        task.worker = WorkerHandle(actor=f"actor {share}", share=share, name="worker", node="node")
        pool._workers.busy.add(task.worker)
        reference: Any = object()
        pool._running[reference] = task
        assert [found.error for found in pool._collect(reference) if isinstance(found, Failed)] == expected
    assert killed == ["actor 0.25"]
    assert not any(pool._queues.values())
    assert shown.getvalue().count("tried again alone") == 1


@pytest.mark.slow
def test_a_node_that_joins_gets_work_within_half_a_minute(tmp_path: Path) -> None:
    result = on_ray("joining", tmp_path)
    assert result["first"] == 2
    times = sorted(result["firsts"].values())
    assert len(times) == 3, "workers"
    assert times[2] - result["joined"][0] < 30.0


@pytest.mark.slow
def test_a_node_without_the_storage_stops_everything_before_any_work(tmp_path: Path) -> None:
    error = on_ray("refused", tmp_path)["error"]
    assert error.startswith("node ")
    assert "expected the driver's files here" in error
    assert not (tmp_path / "fine").exists()


@pytest.mark.heavy
def test_a_storage_that_is_away_when_a_worker_is_replaced_does_not_end_the_job(tmp_path: Path) -> None:
    result = on_ray("away", tmp_path)
    assert result["outcomes"]["once"][0] == ""
    assert len((tmp_path / "starts").read_text().splitlines()) == 3
    assert "ray: a worker could not start: node " in result["shown"]
    assert "expected a folder that can be written (away)" in result["shown"]
