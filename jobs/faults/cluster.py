"""A Ray cluster on hosts of this machine: a head, a host with an object store, two workers."""

import json
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec

from faults.counting import Attempt, Stored, read_attempts, read_journal
from faults.network import SUBNET, Network, kill, responds, wait_until
from faults.work import Kind, command

HEAD, S3_HOST = f"{SUBNET}.1", f"{SUBNET}.2"
DASHBOARD, S3 = f"http://{HEAD}:8265", f"http://{S3_HOST}:5555"
BUCKET = "uapfp"
SERVER = ("jobs/faults/s3_server.py",)
RAY = (sys.executable, "-m", "ray.scripts.scripts")
VARIABLES = {
    **{"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_DEFAULT_REGION": "us-east-1"},
    **{"AWS_ENDPOINT_URL": S3, "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"},
    "UAPFP_DECLARED_GPUS": "1",
    # a lost host is detected within seconds, and hardly an event of a task is lost with it
    **{"RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "3"},
    **{"RAY_health_check_timeout_ms": "2000", "RAY_task_events_report_interval_ms": "100"},
}
START_SECONDS = 180.0


class Cluster:
    """The hosts, and what is asked of them.

    Args:
        hosts: a network without any.
        folder: of the journal of the object store.
    """

    def __init__(self, hosts: Network, folder: Path) -> None:
        self.hosts, self._journal = hosts, folder / "journal.jsonl"
        self.head, self.store = hosts.add(), hosts.add()
        self.workers: list[str] = []
        hosts.start(self.store, sys.executable, *SERVER, "objects", "5556", str(self._journal))
        self.start_front()
        self._start_ray(self.head, "--head", "--port=6379", "--dashboard-host=0.0.0.0")
        wait_until(lambda: responds(f"{DASHBOARD}/api/jobs/") and responds(S3), START_SECONDS, "head and object store")
        fsspec.filesystem("s3", endpoint_url=S3, key="none", secret="none").mkdir(BUCKET)
        for _ in range(2):
            self.add_worker()
        wait_until(lambda: len(self._nodes()) == 3, START_SECONDS, "three nodes")

    def add_worker(self) -> None:
        """Another host with a worker node."""
        self.workers.append(self.hosts.add())
        self._start_ray(self.workers[-1], f"--address={HEAD}:6379")

    def _start_ray(self, host: str, *options: str) -> None:
        common = ["--num-cpus=1", "--num-gpus=1", "--block", "--disable-usage-stats"]
        self.hosts.start(host, *RAY, "start", *options, f"--node-ip-address={self.hosts.address(host)}", *common)

    def start_front(self) -> None:
        """Let the object store be reached."""
        self.hosts.start(self.store, sys.executable, *SERVER, "front", S3_HOST, "5555", "5556")

    def kill_front(self) -> int:
        """Let it be gone."""
        return kill({pid: line for pid, line in self.hosts.processes(self.store).items() if " front " in line})

    def drivers(self, script: str) -> dict[int, str]:
        """The processes of the head in which a job's script runs."""
        found = self.hosts.processes(self.head)
        return {pid: line for pid, line in found.items() if script in line and " submit " not in line}

    def central_actors(self) -> dict[int, str]:
        """The processes of the evaluator, wherever it is."""
        found: dict[int, str] = {}
        for host in (self.head, *self.workers):
            found |= {pid: line for pid, line in self.hosts.processes(host).items() if line.startswith("ray::_Host")}
        return found

    def submit(self, name: str, kind: Kind, folder: Path) -> "subprocess.Popen[bytes]":
        """`ray job submit`, as a process that ends with the job."""
        line = ["python", *command(kind, folder, f"s3://{BUCKET}/{folder.name}")]
        submit = ["job", "submit", "--address", DASHBOARD, "--submission-id", name, "--working-dir", ".", "--"]
        return self.hosts.start(self.head, *RAY, *submit, *line)

    def attempts(self, submissions: list[str]) -> list[Attempt]:
        """Every task that a worker has begun for some jobs."""
        found: list[Attempt] = []
        for name in submissions:
            job_id = self._get(f"/api/jobs/{name}", {}).get("job_id")
            if job_id:  # else the driver died before it reached Ray
                query = {"limit": "10000", "filter_keys": "job_id", "filter_predicates": "=", "detail": "true"}
                answer = self._get("/api/v0/tasks", query | {"filter_values": job_id})
                found += read_attempts(answer["data"]["result"]["result"])
        return found

    def stored(self, folder: str) -> list[Stored]:
        """The artifacts that were stored in a folder of the bucket, in that order."""
        return read_journal(self._journal, f"{BUCKET}/{folder}")

    def node(self, host: str) -> str:
        """Ray's id of the node on a host."""
        return self._nodes().get(self.hosts.address(host), "")

    def _nodes(self) -> dict[str, str]:
        nodes = self._get("/api/v0/nodes", {"detail": "true"})["data"]["result"]["result"]
        return {node["node_ip"]: node["node_id"] for node in nodes}

    def _get(self, path: str, query: Mapping[str, str]) -> Any:
        url = f"{DASHBOARD}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return json.loads(answer.read())
