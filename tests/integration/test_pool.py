"""The pool on real Ray: packing, nodes that come, workers that die, hang, run out of memory or see another storage.

Specs here do nothing but what their names say. Every wait is bounded.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from system import ROOT, environment

from uapfp_dist.cluster.capacity import fits, shares
from uapfp_dist.cluster.session import ClusterResources
from uapfp_dist.cluster.spec_resources import GPU_SHARES, LARGE_SECONDS, SMALL_SECONDS, gpu_share, seconds_for
from uapfp_dist.errors import MismatchError, UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.response_format import LABEL
from uapfp_dist.tasks.hashing import Spec, wire_names
from uapfp_dist.tasks.modification_specs import Distill, Prune
from uapfp_dist.tasks.specs import (
    Checkpoint,
    DataSpec,
    Extracted,
    ModelSpec,
    Modified,
    ProbeSpec,
    Recipe,
    ResponseSpec,
    Trained,
    TrajectorySpec,
)

# --- packing, without Ray

TWO_CPUS = ClusterResources(2, 0.0, elastic=False)
ONE_GPU = ClusterResources(8, 1.0, elastic=False)
THREE_GPUS = ClusterResources(32, 3.0, elastic=False)


@pytest.mark.parametrize(
    ("machine", "workers", "share", "words"),
    [
        (TWO_CPUS, 3, None, "at most 2 .*got 3"),
        (TWO_CPUS, None, 1.0, "gpus_per_worker: expected a machine with GPUs"),
        (ONE_GPU, 2, 1.0, "at most 1 .*got 2"),
        (ONE_GPU, 5, None, "at most 4 .*got 5"),
        (ONE_GPU, None, 2.0, "gpus_per_worker: expected at most the 1 GPUs"),
        (THREE_GPUS, None, 1.5, "gpus_per_worker: expected a share"),
        (THREE_GPUS, 7, 0.4, "at most 6 .*got 7"),
    ],
)
def test_a_machine_that_is_too_small(
    machine: ClusterResources, workers: int | None, share: float | None, words: str
) -> None:
    """Ray would wait for ever for what it cannot give; no GPU is cut in two (three of 0.4 do not fit on one)."""
    with pytest.raises(UserError, match=words):
        shares(machine, workers, share)


def test_a_cluster_that_grows_may_be_asked_for_what_it_does_not_have() -> None:
    """It has no GPU yet; its autoscaler sees what is asked for."""
    share = shares(ClusterResources(0, 0.0, elastic=True), 40, 0.25)
    assert share(model("A")) == 0.25
    with pytest.raises(UserError, match="gpus_per_worker"):
        shares(ClusterResources(0, 0.0, elastic=True), None, 1.5)


@pytest.mark.parametrize(
    ("cpus", "gpus", "share", "workers"),
    [(2, 0, 0.0, 2), (8, 1, 1.0, 1), (8, 1, 0.5, 2), (8, 1, 0.1, 8), (8, 1, 0.0, 8), (32, 3, 0.4, 6), (32, 3, 2.0, 1)],
)
def test_as_many_workers_as_fit(cpus: int, gpus: int, share: float, workers: int) -> None:
    assert fits({"CPU": cpus, "GPU": gpus}, share) == workers


DATA = DataSpec("digits", "0", 0, 0.5, (0.3, 0.3, 0.4))


def model(architecture: str, victim: ModelSpec | None = None) -> ModelSpec:
    """A model, stolen where there is a victim."""
    origin = Extracted(victim, "knockoff", LABEL, 10, 0, 1.0) if victim else Trained("victim_set")
    return ModelSpec(DATA, architecture, 8, Recipe("adam", 64, 100), origin, 0)


def test_large_nets_and_tiny_nets_get_the_right_share(digits_plan: Plan) -> None:
    """What counts is the largest net on the device: a tiny attacker queries a large victim."""
    tiny, large = model("A"), model("resnet18")
    assert gpu_share(tiny) == GPU_SHARES["A"] < gpu_share(large) == 0.5 < gpu_share(model("vit_b_16")) == 1.0
    assert gpu_share(model("A", large)) == 0.5
    assert gpu_share(model("B", tiny)) == GPU_SHARES["B"]
    assert gpu_share(model("residual", model("mlp"))) == gpu_share(tiny)
    probe = next(spec for spec in digits_plan.specs if isinstance(spec, ProbeSpec))
    assert gpu_share(probe) == GPU_SHARES["A"]
    assert gpu_share(replace(probe, victim=large)) == 0.5
    assert gpu_share(ResponseSpec(large, probe)) == 0.5
    assert gpu_share(ResponseSpec(tiny, replace(probe, victim=large))) == GPU_SHARES["A"]
    assert shares(ONE_GPU, None, None)(tiny) == GPU_SHARES["A"], "where there are GPUs"
    assert shares(TWO_CPUS, None, None)(tiny) == 0.0
    assert shares(ONE_GPU, None, 0.7)(large) == 0.7, "what the user sets goes first"


def derived(victim: ModelSpec) -> dict[str, Spec]:
    """Nets of architecture A that come from a model extracted from `victim`; its card compares each with the victim."""
    extracted = model("A", victim)
    pruned = replace(extracted, origin=Modified(extracted, Prune(0.5)))
    path = TrajectorySpec(extracted, (0.5, 0.9))
    kept = replace(extracted, origin=Checkpoint(path, 0.9))
    return {
        "pruned": pruned,
        "pruned twice": replace(pruned, origin=Modified(pruned, Prune(0.7))),
        "distilled": replace(pruned, architecture="B", origin=Modified(pruned, Distill())),
        "trajectory": path,
        "checkpoint": kept,
        "checkpoint, pruned": replace(kept, origin=Modified(kept, Prune(0.5))),
    }


@pytest.mark.parametrize("what", list(derived(model("A"))))
def test_the_victim_on_the_device_counts(what: str) -> None:
    """However many modifications ago it was extracted."""
    assert gpu_share(derived(model("resnet18"))[what]) == 0.5
    assert gpu_share(derived(model("E"))[what]) == GPU_SHARES["A"]
    assert seconds_for(derived(model("resnet18"))[what]) == LARGE_SECONDS
    assert seconds_for(derived(model("E"))[what]) == SMALL_SECONDS


def test_a_net_distilled_from_a_large_one_holds_it() -> None:
    teacher = model("vgg16")
    student = replace(model("A"), origin=Modified(teacher, Distill()))
    assert gpu_share(student) == 0.5
    assert gpu_share(replace(student, origin=Modified(model("mine.nets:make"), Distill()))) == 1.0
    assert seconds_for(model("mine.nets:make")) == LARGE_SECONDS


def test_shares_of_single_architectures() -> None:
    given = {"resnet18": 0.2, "A": 0.1}
    share = shares(ONE_GPU, 4, None, given)
    assert [share(model(name)) for name in ("A", "B", "resnet18", "vgg16")] == [0.1, 0.25, 0.2, 0.5]
    assert share(model("A", model("resnet18"))) == 0.2
    assert shares(ONE_GPU, 8, None, given)(model("A")) == 0.1, "eight CPUs; ten of them would share the GPU"
    assert shares(ClusterResources(0, 0.0, elastic=True), None, None, given)(model("B")) == 0.25, "GPUs are to come"


@pytest.mark.parametrize(
    ("machine", "workers", "given", "words"),
    [
        (TWO_CPUS, None, {"A": 0.1}, "gpu_shares.A: expected a machine with GPUs"),
        (ONE_GPU, None, {"vgg16": 2.0}, "gpu_shares.vgg16: expected at most the 1 GPUs"),
        (ONE_GPU, None, {"vgg16": 1.5}, "gpu_shares.vgg16: expected a share"),
        (ONE_GPU, 3, dict.fromkeys(GPU_SHARES, 0.5), "at most 2 .*got 3"),
    ],
)
def test_shares_that_cannot_be_had(
    machine: ClusterResources, workers: int | None, given: dict[str, float], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        shares(machine, workers, None, given)


# --- on Ray: each case is a process of its own, so that a Ray session never outlives it


@wire_names("task", "name before share")
@dataclass(frozen=True)
class Task(Spec):
    """A spec that does what its name says."""

    stage: ClassVar[str] = "zoo"
    name: str
    before: tuple["Task", ...] = ()
    share: float = 0.0

    @property
    def needs(self) -> tuple[Spec, ...]:
        """Those that come first."""
        return self.before


def acting(folder: str) -> Callable[[Spec], None]:
    """Performs tasks; each leaves a line in a file of its name."""

    def perform(spec: Spec) -> None:
        assert isinstance(spec, Task)
        what = spec.name.split("-")[0]
        with open(os.path.join(folder, spec.name), "a") as file:
            file.write(os.environ.get("CUDA_VISIBLE_DEVICES", "") + "\n")
        if what == "die":
            os._exit(1)
        elif what == "hang":
            time.sleep(600)
        elif what == "raise":
            raise ValueError("no good")
        elif what == "flaky" and len(Path(folder, spec.name).read_text().splitlines()) < 3:
            raise ConnectionError("the storage did not answer")
        elif what == "devour":
            eaten = []
            for _ in range(200):
                eaten.append(b"x" * (50 << 20))
                time.sleep(0.02)
        elif what == "once" and len(Path(folder, spec.name).read_text().splitlines()) < 2:
            os._exit(1)
        elif what == "full" or (what == "crowded" and len(Path(folder, spec.name).read_text().splitlines()) < 2):
            import torch

            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        elif what == "nap":
            time.sleep(2.0)
        elif what == "meet":  # meet-<n>-<group><i>: until so many of the group are at work
            until = time.monotonic() + 60.0
            while len(list(Path(folder).glob(f"{spec.name[:-1]}*"))) < int(spec.name.split("-")[1]):
                assert time.monotonic() < until, "nobody came"
                time.sleep(0.1)

    return perform


def strange(folder: str) -> Callable[[Spec], None]:
    """A node that does not see the storage."""
    raise MismatchError(f"storage {folder}: expected the driver's files here")


def late(folder: str) -> Callable[[Spec], None]:
    """A storage that is away at the second start."""
    with open(os.path.join(folder, "starts"), "a") as file:
        file.write("one\n")
    if len(Path(folder, "starts").read_text().splitlines()) == 2:
        raise UserError(f"storage {folder}: expected a folder that can be written (away)")
    return acting(folder)


def on_ray(case: str, folder: Path, **variables: str) -> dict[str, Any]:
    """What `case` of this file finds, in a process and a Ray session of its own."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as home:
        env = environment(RAY_TMPDIR=home, PYTHONPATH=f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'support'}", **variables)
        command = [sys.executable, __file__, case, str(folder)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def outcomes(specs: list[Task], folder: str, limit: float = 5.0, **options: Any) -> dict[str, Any]:
    """Error (an empty text for done), details and whether it was skipped, by task; and what a person was shown."""
    from functools import partial

    from uapfp_dist.cluster.pool import RayPool
    from uapfp_dist.progress import Progress
    from uapfp_dist.tasks.outcomes import Failed
    from uapfp_dist.tasks.scheduler import run_tasks

    shown = io.StringIO()
    options = {"make_perform": partial(acting, folder), "limit": lambda spec: limit, **options}
    pool = RayPool(share=lambda spec: getattr(spec, "share", 0.0), progress=Progress(0, shown), **options)
    found: dict[str, Any] = {}
    for outcome in run_tasks(specs, pool, lambda spec: False):
        assert isinstance(outcome.spec, Task)
        if isinstance(outcome, Failed):
            found[outcome.spec.name] = [outcome.error, outcome.details, outcome.skipped]
        else:
            found[outcome.spec.name] = ["", outcome.worker, False]
    pool.close()
    return {"outcomes": found, "shown": shown.getvalue(), "deaths": pool.deaths}


def start_ray(**options: Any) -> None:
    """A Ray of this process."""
    import ray

    ray.init(address="local", include_dashboard=False, log_to_driver=False, **options)


def first(folder: str) -> dict[str, Any]:
    """One that raises, its dependant, a bystander."""
    start_ray(num_cpus=1)
    return outcomes([Task("raise"), Task("after-raise", (Task("raise"),)), Task("fine")], folder, limit=60.0)


def test_specs_are_done_on_ray(tmp_path: Path) -> None:
    found = on_ray("first", tmp_path)["outcomes"]
    assert found["raise"][0].startswith("ValueError: no good")
    assert found["after-raise"][2], "skipped"
    assert found["fine"][0] == ""
    assert lines(tmp_path, "fine") == 1


def faults(folder: str) -> dict[str, Any]:
    """Everything at once, with a dependant of each, and bystanders."""
    from uapfp_dist.cluster import pool

    start_ray(num_cpus=2)
    pool.RETRY_SECONDS = 1.0
    bad = [Task(name) for name in ("die", "hang", "raise", "flaky")]
    return outcomes(
        [*bad, *(Task(f"after-{t.name}", (t,)) for t in bad), *(Task(f"fine-{i}") for i in range(4))], folder
    )


def lines(folder: Path, name: str) -> int:
    """How often a task was begun."""
    return len((folder / name).read_text().splitlines())


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


def memory(folder: str) -> dict[str, Any]:
    """A task that eats more than Ray's memory monitor allows: 3 GB above what the machine uses now."""
    import psutil

    now = psutil.virtual_memory()
    threshold = (now.total - now.available + 3e9) / now.total
    start_ray(num_cpus=1, _system_config={"memory_usage_threshold": threshold, "memory_monitor_refresh_ms": 100})
    return outcomes([Task("devour"), Task("after-devour", (Task("devour"),)), Task("fine")], folder, limit=60.0)


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


def pinned(folder: str) -> dict[str, Any]:
    """Two declared GPUs: two workers of a whole one, then four of a half; and both sizes at a time."""
    start_ray(num_cpus=8, num_gpus=2)
    whole = outcomes([Task(f"meet-2-whole{i}", share=1.0) for i in range(2)], folder)
    half = outcomes([Task(f"meet-4-half{i}", share=0.5) for i in range(4)], folder)
    mixed = [Task(f"nap-large{i}", share=1.0) for i in range(2)] + [Task(f"tiny-{i}", share=0.25) for i in range(12)]
    last = Task("last", tuple(mixed), share=1.0)
    both = outcomes([*mixed, last], folder, limit=60.0)
    return {"whole": whole["outcomes"], "half": half["outcomes"], "mixed": both["outcomes"]}


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


def crowded(folder: str) -> dict[str, Any]:
    """One declared GPU; two of its small tasks find no memory beside others."""
    start_ray(num_cpus=6, num_gpus=1)
    names = ("full", "crowded", *(f"nap-{i}" for i in range(4)))
    return outcomes([Task(name, share=0.25) for name in names], folder, limit=60.0)


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


def joining(folder: str) -> dict[str, Any]:
    """One node at first; another after the first outcome; a third that does not see the storage."""
    from functools import partial

    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    first = len({node["NodeID"] for node in ray.nodes()})
    naps = [Task(f"nap-{i}") for i in range(14)]
    began = time.monotonic()
    joined: list[float] = []

    def tick(outcome: Any) -> bool:
        if not joined:
            cluster.add_node(num_cpus=1, resources={"late": 1})
            joined.append(time.monotonic() - began)
        return False

    return {"first": first, "joined": joined, **watched(naps, partial(acting, folder), tick)}


def watched(specs: list[Task], make_perform: Callable[[], Any], tick: Callable[[Any], Any]) -> dict[str, Any]:
    """When each worker had its first outcome; `tick` sees every outcome."""
    from uapfp_dist.cluster.pool import RayPool
    from uapfp_dist.progress import Progress
    from uapfp_dist.tasks.scheduler import run_tasks

    pool = RayPool(make_perform, lambda spec: 0.0, lambda spec: 60.0, None, True, Progress(0, shown := io.StringIO()))
    began, firsts = time.monotonic(), {}
    for outcome in run_tasks(specs, pool, lambda spec: False):
        firsts.setdefault(getattr(outcome, "worker", "none"), time.monotonic() - began)
        tick(outcome)
    pool.close()
    return {"firsts": firsts, "shown": shown.getvalue()}


@pytest.mark.slow
def test_a_node_that_joins_gets_work_within_half_a_minute(tmp_path: Path) -> None:
    result = on_ray("joining", tmp_path)
    assert result["first"] == 2
    times = sorted(result["firsts"].values())
    assert len(times) == 3, "workers"
    assert times[2] - result["joined"][0] < 30.0


def refused(folder: str) -> dict[str, Any]:
    """No worker sees the storage."""
    from functools import partial

    start_ray(num_cpus=2)
    try:
        outcomes([Task("fine")], folder, make_perform=partial(strange, folder))
    except UserError as error:
        return {"error": str(error)}
    return {"error": ""}


@pytest.mark.slow
def test_a_node_without_the_storage_stops_everything_before_any_work(tmp_path: Path) -> None:
    error = on_ray("refused", tmp_path)["error"]
    assert error.startswith("node ")
    assert "expected the driver's files here" in error
    assert not (tmp_path / "fine").exists()


def away(folder: str) -> dict[str, Any]:
    """A worker dies; the one in its place finds the storage away, the next one does not."""
    from functools import partial

    from uapfp_dist.cluster import worker_group

    start_ray(num_cpus=1)
    worker_group.PAUSE_SECONDS = 1.0
    return outcomes([Task("once")], folder, make_perform=partial(late, folder))


@pytest.mark.heavy
def test_a_storage_that_is_away_when_a_worker_is_replaced_does_not_end_the_job(tmp_path: Path) -> None:
    result = on_ray("away", tmp_path)
    assert result["outcomes"]["once"][0] == ""
    assert len((tmp_path / "starts").read_text().splitlines()) == 3
    assert "ray: a worker could not start: node " in result["shown"]
    assert "expected a folder that can be written (away)" in result["shown"]


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](sys.argv[2])))
