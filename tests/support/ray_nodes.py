"""A cluster of several raylets of this machine, with token authentication: nodes that start and are killed, jobs."""

import subprocess
import sys
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from system import ROOT, ProcessTree, environment, free_ports, wait_until

RAY = (sys.executable, "-m", "ray.scripts.scripts")
TOKEN = "a1" * 32
HEALTH = {"period_ms": 1000, "failure_threshold": 3, "timeout_ms": 2000}
"""Settings of Ray's health checks: a lost node is detected within seconds."""


@dataclass(frozen=True)
class Submitted:
    """A submitted job."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def output(self) -> str:
        """Its output so far."""
        return self.log.read_text(errors="replace")

    def wait_for(self, condition: Callable[[], object], what: str, seconds: float = 180.0) -> None:
        """Wait until the condition holds; fails with the end of the output."""
        try:
            wait_until(condition, seconds, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; output: {self.output[-3000:]}") from None

    def end(self, seconds: float = 300.0) -> tuple[int, str]:
        """Wait for its end; returns its exit code and output."""
        self.wait_for(lambda: self.process.poll() is not None, "the job to end", seconds)
        return self.process.returncode, self.output


class Cluster:
    """A head node and worker nodes that are started and killed; each is a tree of processes.

    Args:
        home: Ray's folder, with a short path.
        folder: of the logs of nodes and jobs.
    """

    def __init__(self, home: str, folder: Path) -> None:
        self._folder = folder
        self.env = environment(
            RAY_TMPDIR=home,
            RAY_AUTH_MODE="token",
            RAY_AUTH_TOKEN=TOKEN,
            UAPFP_DECLARED_GPUS="1",
            **{f"RAY_health_check_{key}": str(value) for key, value in HEALTH.items()},
        )
        self._nodes: list[ProcessTree] = []
        self._submitted: list[Submitted] = []
        self._gcs, self._dashboard = "", ""

    @property
    def dashboard(self) -> str:
        """Where jobs are submitted."""
        return f"http://127.0.0.1:{self._dashboard}"

    def start_head(self, cpus: int) -> ProcessTree:
        """Start the head node; returns when it responds."""
        self._gcs, self._dashboard, client = free_ports(3)
        head = self._start(
            *("--head", "--port", self._gcs, "--dashboard-port", self._dashboard, "--ray-client-server-port", client),
            *("--num-cpus", cpus, "--num-gpus", 0),
        )

        def responds() -> bool:
            head.look()
            assert head.process.poll() is None, "the head ended at once"
            url = f"{self.dashboard}/api/jobs/"
            request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
            with suppress(OSError), urllib.request.urlopen(request, timeout=5) as http_response:
                return bool(http_response.status == 200)
            return False

        wait_until(responds, 90.0, "the head to respond")
        return head

    def add(self, cpus: int, gpus: int) -> ProcessTree:
        """Start a worker node; returns when it runs: two that start at once on one address disturb each other."""
        node = self._start("--address", f"127.0.0.1:{self._gcs}", "--num-cpus", cpus, "--num-gpus", gpus)
        log = self._log(len(self._nodes) - 1)
        wait_until(lambda: "Ray runtime started" in log.read_text(errors="replace"), 90.0, "a node to run")
        return node

    def _log(self, node: int) -> Path:
        return self._folder / f"node{node}.log"

    def _start(self, *options: Any) -> ProcessTree:
        agent = free_ports(1)[0]
        common = ["--block", "--disable-usage-stats", "--dashboard-agent-listen-port", agent]
        with self._log(len(self._nodes)).open("wb") as log:
            command = [*RAY, "start", *map(str, [*options, *common])]
            process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log, start_new_session=True)
        self._nodes.append(ProcessTree(process))
        return self._nodes[-1]

    def submit(self, *line: str, **variables: str) -> Submitted:
        """`ray job submit`, in the folder of the project."""
        return self._submit([*RAY, "job", "submit", "--working-dir", "."], line, variables)

    def submit_by_script(self, *line: str, **variables: str) -> Submitted:
        """`jobs/submit.py`, there too."""
        return self._submit([sys.executable, "jobs/submit.py"], line, variables)

    def _submit(self, by: Sequence[str], line: Sequence[str], variables: dict[str, str]) -> Submitted:
        command = [*by, "--address", self.dashboard, "--", *line]
        output = self._folder / f"job{len(self._submitted)}.log"
        with output.open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=self.env | variables, stdout=log, stderr=log)
        self._submitted.append(Submitted(process, output))
        return self._submitted[-1]

    def status(self) -> str:
        """The output of `ray status`: nodes, resources, demand."""
        command = [*RAY, "status", "--address", f"127.0.0.1:{self._gcs}"]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60).stdout

    def close(self) -> None:
        """Kill all nodes and jobs."""
        for job in self._submitted:
            job.process.kill()
            job.process.wait(timeout=30)
        for node in self._nodes[::-1]:
            node.end()
