"""Jobs submitted to a cluster that asks for a token: what they say, nodes of two kinds that come and are lost, kills.

The cluster is several raylets of this machine: network namespaces, with addresses of their own, want root (see
jobs/hosts.py, and the heavy test at the end). Every wait is bounded.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from system import JOB, MODELS, ROOT, Family, Lab, environment, flags, free_ports, same, tiny, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

RAY = (sys.executable, "-m", "ray.scripts.scripts")
TOKEN = "a1" * 32
HEALTH = {"period_ms": 1000, "failure_threshold": 3, "timeout_ms": 2000}
"""Of Ray's health checks: a lost node is noticed within seconds."""
WANTED = re.compile(r"'GPU': 1\.0.*pending")
"""What `ray status` says of workers that have no place."""


@dataclass(frozen=True)
class Submitted:
    """A job as the person sees it who submitted it."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def said(self) -> str:
        """What it has said so far."""
        return self.log.read_text(errors="replace")

    def wait_for(self, condition: Callable[[], object], what: str, seconds: float = 180.0) -> None:
        """Until the condition holds; fails with what the job said last."""
        try:
            wait_until(condition, seconds, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; it said {self.said[-3000:]}") from None

    def end(self, seconds: float = 300.0) -> tuple[int, str]:
        """Its exit code and all it said."""
        self.wait_for(lambda: self.process.poll() is not None, "the job to end", seconds)
        return self.process.returncode, self.said


class Cluster:
    """A head, and raylets that are started and killed; each is a family of processes.

    Args:
        home: Ray's folder, of a short path.
        folder: what nodes and jobs say goes here.
    """

    def __init__(self, home: str, folder: Path) -> None:
        self._folder = folder
        self._env = environment(
            RAY_TMPDIR=home,
            RAY_AUTH_MODE="token",
            RAY_AUTH_TOKEN=TOKEN,
            **{f"RAY_health_check_{key}": str(value) for key, value in HEALTH.items()},
        )
        self._nodes: list[Family] = []
        self._submitted: list[Submitted] = []
        self._gcs, self._dashboard = "", ""

    @property
    def dashboard(self) -> str:
        """Where jobs are submitted."""
        return f"http://127.0.0.1:{self._dashboard}"

    def start_head(self, cpus: int) -> Family:
        """The first node, once it answers."""
        self._gcs, self._dashboard, client = free_ports(3)
        head = self._start(
            *("--head", "--port", self._gcs, "--dashboard-port", self._dashboard, "--ray-client-server-port", client),
            *("--num-cpus", cpus, "--num-gpus", 0),
        )

        def answers() -> bool:
            head.look()
            assert head.process.poll() is None, "the head ended at once"
            asked = f"{self.dashboard}/api/jobs/"
            request = urllib.request.Request(asked, headers={"Authorization": f"Bearer {TOKEN}"})
            with suppress(OSError), urllib.request.urlopen(request, timeout=5) as response:
                return bool(response.status == 200)
            return False

        wait_until(answers, 90.0, "the head to answer")
        return head

    def add(self, cpus: int, gpus: int) -> Family:
        """One more node, once it stands: two of one address that start at a time confuse each other."""
        node = self._start("--address", f"127.0.0.1:{self._gcs}", "--num-cpus", cpus, "--num-gpus", gpus)
        log = self._log(len(self._nodes) - 1)
        wait_until(lambda: "Ray runtime started" in log.read_text(errors="replace"), 90.0, "a node to stand")
        return node

    def _log(self, node: int) -> Path:
        return self._folder / f"node{node}.log"

    def _start(self, *options: Any) -> Family:
        agent = free_ports(1)[0]
        common = ["--block", "--disable-usage-stats", "--dashboard-agent-listen-port", agent]
        with self._log(len(self._nodes)).open("wb") as log:
            command = [*RAY, "start", *map(str, [*options, *common])]
            process = subprocess.Popen(command, env=self._env, stdout=log, stderr=log, start_new_session=True)
        self._nodes.append(Family(process))
        return self._nodes[-1]

    def submit(self, *line: str, **variables: str) -> Submitted:
        """`ray job submit`, in the folder of the project."""
        command = [*RAY, "job", "submit", "--address", self.dashboard, "--working-dir", ".", "--", *line]
        said = self._folder / f"job{len(self._submitted)}.log"
        with said.open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=self._env | variables, stdout=log, stderr=log)
        self._submitted.append(Submitted(process, said))
        return self._submitted[-1]

    def status(self) -> str:
        """What `ray status` tells a person, or an autoscaler: nodes, resources, demand."""
        command = [*RAY, "status", "--address", f"127.0.0.1:{self._gcs}"]
        return subprocess.run(command, env=self._env, capture_output=True, text=True, timeout=60).stdout

    def close(self) -> None:
        """Leave nothing behind."""
        for job in self._submitted:
            job.process.kill()
            job.process.wait(timeout=30)
        for node in self._nodes[::-1]:
            node.end()


@pytest.fixture
def cluster(lab: Lab, tmp_path: Path) -> Iterator[Cluster]:
    """Nothing started yet."""
    found = Cluster(lab.ray_home, tmp_path)
    try:
        yield found
    finally:
        found.close()


def evaluation(folder: Path, *more: str) -> list[str]:
    """The line of a tiny evaluation; storage and report lie at absolute paths."""
    places = ["--storage", str(folder / "storage"), "--report", str(folder / "report.json")]
    return ["python", str(JOB.relative_to(ROOT)), *flags(tiny()), *places, *more]


def stored(folder: Path) -> int:
    """Models in the storage of an evaluation."""
    return len(list((folder / "storage" / "model").glob("*.safetensors")))


def report_of(folder: Path) -> dict[str, Any]:
    """The report of an evaluation."""
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def test_what_a_submitted_job_says_and_how_it_ends(cluster: Cluster, serial: dict[str, Any], tmp_path: Path) -> None:
    """The verdicts of one process; a grid on its answers; an exit code that tells of failure."""
    cluster.start_head(cpus=2)
    code, said = cluster.submit(*evaluation(tmp_path), RAY_AUTH_TOKEN="b2" * 32).end(60.0)
    assert code != 0, said
    assert stored(tmp_path) == 0, "nobody without the token"

    code, said = cluster.submit(*evaluation(tmp_path)).end()
    assert code == 0, said[-3000:]
    same(report_of(tmp_path), serial)

    grid = ["--grid", "n_points=5,10", "--grid", "top_k=0,10", "--storage", str(tmp_path / "storage")]
    code, said = cluster.submit("python", "jobs/ablations.py", *flags(tiny()), *grid).end()
    assert code == 0, said[-3000:]
    assert re.search(r"4 cells, 4 run and 0 reused, \d+ encoders trained, 0 models trained", said), said[-3000:]

    lost = evaluation(tmp_path / "lost", "--zoo.homologous-margin", "-0.5", "--zoo.attempts", "1")
    code, said = cluster.submit(*lost).end()
    assert code != 0, said[-3000:]
    assert not (tmp_path / "lost" / "report.json").exists()
    assert "full_eval: error: " in said


def test_a_killed_driver_is_submitted_again(cluster: Cluster, serial: dict[str, Any], tmp_path: Path) -> None:
    """What is stored is not computed again, and the verdicts are the same."""
    head = cluster.start_head(cpus=2)
    first = cluster.submit(*evaluation(tmp_path))
    first.wait_for(lambda: stored(tmp_path) > 0, "a model")
    drivers = [pid for pid in head.named(str(JOB.name)) if pid != first.process.pid]
    assert drivers
    for pid in drivers:
        with suppress(ProcessLookupError):  # the shell that started the other
            os.kill(pid, signal.SIGKILL)
    code, said = first.end()
    assert code != 0, said[-3000:]
    assert not (tmp_path / "report.json").exists()
    wait_until(lambda: not head.named("ray::Worker"), 60.0, "the workers of a killed driver to end")
    before = stored(tmp_path)
    assert 0 < before < MODELS

    code, said = cluster.submit(*evaluation(tmp_path)).end()
    assert code == 0, said[-3000:]
    report = report_of(tmp_path)
    same(report, serial)
    assert report["models"] == {"trained": MODELS - before, "reused": before, "failed": 0}


def test_nodes_of_two_kinds_that_come_and_are_lost(cluster: Cluster, serial: dict[str, Any], tmp_path: Path) -> None:
    """Submitted where nothing can work yet: an autoscaler sees what is wanted. A node is killed in mid-zoo.

    The log tells how far the job is, and how long it will take.
    """
    cluster.start_head(cpus=0)
    running = cluster.submit(*evaluation(tmp_path, "--gpus-per-worker", "1"))
    running.wait_for(lambda: WANTED.search(cluster.status()), "workers to be asked for")
    plain = cluster.add(cpus=4, gpus=0)
    lost = cluster.add(cpus=1, gpus=1)
    running.wait_for(lambda: stored(tmp_path) > 0, "a model")
    at_work = lost.named("ray::Worker")
    lost.end()
    wait_until(lambda: not lost.alive(), 10.0, "the processes of a killed node to end")
    assert stored(tmp_path) < MODELS
    assert len(at_work) == 1
    joined = cluster.add(cpus=1, gpus=1)
    running.wait_for(lambda: joined.named("ray::Worker"), "work for the node that joined")
    assert not plain.named("ray::Worker"), "a node without a GPU trains nothing where others have one"
    code, said = running.end()
    assert code == 0, said[-3000:]
    assert re.search(r"\[\d\d:\d\d\] zoo \d+/14 ETA \d\d:\d\d", said), said[-3000:]
    same(report_of(tmp_path), serial)
    assert report_of(tmp_path)["models"] == {"trained": MODELS, "reused": 0, "failed": 0}
    wait_until(lambda: not WANTED.search(cluster.status()), 60.0, "nothing to be wanted any more")


@pytest.mark.heavy
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="network namespaces want root and iproute2")
def test_lost_hosts(tmp_path: Path) -> None:
    """Three hosts with their own addresses and an object store; one is killed in mid-zoo, another joins."""
    command = [sys.executable, str(ROOT / "jobs" / "hosts.py"), "--keep", str(tmp_path / "logs")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=590)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "1 of 1 evaluations" in done.stdout
