"""Cases of a pool on real Ray, each run as a process of its own, so that a Ray session never outlives it.

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from system import ROOT, environment

from uapfp_dist.errors import MismatchError, UserError
from uapfp_dist.tasks.hashing import Spec, wire_names


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


def memory(folder: str) -> dict[str, Any]:
    """A task that eats more than Ray's memory monitor allows: 3 GB above what the machine uses now."""
    import psutil

    now = psutil.virtual_memory()
    threshold = (now.total - now.available + 3e9) / now.total
    start_ray(num_cpus=1, _system_config={"memory_usage_threshold": threshold, "memory_monitor_refresh_ms": 100})
    return outcomes([Task("devour"), Task("after-devour", (Task("devour"),)), Task("fine")], folder, limit=60.0)


def pinned(folder: str) -> dict[str, Any]:
    """Two declared GPUs: two workers of a whole one, then four of a half; and both sizes at a time."""
    start_ray(num_cpus=8, num_gpus=2)
    whole = outcomes([Task(f"meet-2-whole{i}", share=1.0) for i in range(2)], folder)
    half = outcomes([Task(f"meet-4-half{i}", share=0.5) for i in range(4)], folder)
    mixed = [Task(f"nap-large{i}", share=1.0) for i in range(2)] + [Task(f"tiny-{i}", share=0.25) for i in range(12)]
    last = Task("last", tuple(mixed), share=1.0)
    both = outcomes([*mixed, last], folder, limit=60.0)
    return {"whole": whole["outcomes"], "half": half["outcomes"], "mixed": both["outcomes"]}


def crowded(folder: str) -> dict[str, Any]:
    """One declared GPU; two of its small tasks find no memory beside others."""
    start_ray(num_cpus=6, num_gpus=1)
    names = ("full", "crowded", *(f"nap-{i}" for i in range(4)))
    return outcomes([Task(name, share=0.25) for name in names], folder, limit=60.0)


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


def refused(folder: str) -> dict[str, Any]:
    """No worker sees the storage."""
    from functools import partial

    start_ray(num_cpus=2)
    try:
        outcomes([Task("fine")], folder, make_perform=partial(strange, folder))
    except UserError as error:
        return {"error": str(error)}
    return {"error": ""}


def away(folder: str) -> dict[str, Any]:
    """A worker dies; the one in its place finds the storage away, the next one does not."""
    from functools import partial

    from uapfp_dist.cluster import worker_group

    start_ray(num_cpus=1)
    worker_group.PAUSE_SECONDS = 1.0
    return outcomes([Task("once")], folder, make_perform=partial(late, folder))


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](sys.argv[2])))
