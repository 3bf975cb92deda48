"""Lose hosts on purpose: an evaluation on hosts of its own on this machine (network namespaces; Linux, root), whose
verdicts must equal, bit for bit, those of one process that nobody disturbs.

    sudo $(which python) jobs/hosts.py             # three hosts; one is killed in mid-zoo, another joins later
    sudo $(which python) jobs/hosts.py --kills 5   # five evaluations, each with a kill at a random time

Every host has its own address and one declared GPU; models go to an S3-compatible server on the first host, the head
(pip install 'uapfp_dist[test]'), so that no host needs another's disk.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import tyro

from uapfp_dist.command import main
from uapfp_dist.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
SUBNET = "10.77.0"
BRIDGE = "uapfp-br"
HEAD = f"{SUBNET}.1"
S3 = f"http://{HEAD}:5555"
BUCKET = "uapfp"
HEALTH = {"period_ms": 1000, "failure_threshold": 3, "timeout_ms": 2000}
"""Of Ray's health checks: a lost host is noticed within seconds."""
EVALUATION = (
    *("--preset", "digits", "--zoo.width", "6", "--zoo.n-piracy", "6", "--zoo.n-homologous", "8"),
    *("--zoo.n-same-data", "2", "--zoo.n-soft-piracy", "1", "--zoo.n-other-piracy", "1", "1"),
    *("--zoo.homologous-margin", "1.0", "--zoo.piracy-margin", "1.0"),
    *("--verdict.n-train", "3", "--verdict.n-calibrate", "3", "--verdict.n-draws", "2", "--verdict.alpha", "0.3"),
    *("--verdict.methods", "uap", "weighted_errors", "--encoder.epochs", "10"),
)
"""Digits with few nets, each of the preset's length."""
N_MODELS = 22
"""Those of `EVALUATION`."""
JOB_SECONDS = 900.0


@dataclass(frozen=True)
class Hosts:
    """Kill hosts in the middle of evaluations."""

    kills: int = 1
    """Evaluations, each with one kill."""
    seed: int = 0
    """Of the times and hosts; printed, so that a run can be repeated."""
    keep: Path | None = None
    """Keep the logs in this folder."""


class Network:
    """Hosts as network namespaces on one bridge."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hosts: dict[str, str] = {}
        self._next = 1
        self._env = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_", "UAPFP_"))},
            **{f"RAY_health_check_{key}": str(value) for key, value in HEALTH.items()},
            **{"RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1", "RAY_TMPDIR": str(folder)},
            **{"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_DEFAULT_REGION": "us-east-1"},
            **{"AWS_ENDPOINT_URL": S3, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        }

    def add(self) -> str:
        """A new host, with an address that no other ever had; returns its name."""
        name, address = f"uapfp{self._next}", f"{SUBNET}.{self._next}"
        if self._next == 1:
            ip("link", "add", BRIDGE, "type", "bridge")
            ip("addr", "add", f"{SUBNET}.254/24", "dev", BRIDGE)
            ip("link", "set", BRIDGE, "up")
        self._next += 1
        ip("netns", "add", name)
        self._hosts[name] = address
        ip("link", "add", f"{name}-out", "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", f"{name}-out", "master", BRIDGE, "up")
        ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        return name

    def start(self, name: str, *command: str) -> "subprocess.Popen[bytes]":
        """A process on a host; what it says goes to a file of the host."""
        with (self._folder / f"{name}.log").open("ab") as log:
            line = ["ip", "netns", "exec", name, *command]
            return subprocess.Popen(line, cwd=ROOT, env=self._env, stdout=log, stderr=log, start_new_session=True)

    def ray(self, name: str) -> None:
        """Make a host a node: the first one the head, the others of its cluster."""
        address = self._hosts[name]
        role = ["--head", "--port=6379", "--dashboard-host=0.0.0.0"] if address == HEAD else [f"--address={HEAD}:6379"]
        common = [f"--node-ip-address={address}", "--num-cpus=1", "--num-gpus=1", "--block", "--disable-usage-stats"]
        self.start(name, sys.executable, "-m", "ray.scripts.scripts", "start", *role, *common)

    def kill(self, name: str) -> int:
        """SIGKILL to all processes of a host at once, as when its power fails; returns how many there were."""
        pids = ip("netns", "pids", name).split()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(int(pid), 9)
        return len(pids)

    def remove(self, name: str) -> None:
        """End a host and its namespace."""
        self.kill(name)
        ip("link", "del", f"{name}-out")  # else it lives on until the last process has been collected
        ip("netns", "del", name)
        del self._hosts[name]

    def close(self) -> None:
        """Leave nothing behind."""
        for name in list(self._hosts):
            self.remove(name)
        ip("link", "del", BRIDGE)


def ip(*arguments: str) -> str:
    """The command of that name."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise UserError(
            f"ip {' '.join(arguments)}: expected to make network namespaces here, got: {done.stderr.strip()}; run it "
            "as root on Linux"
        )
    return done.stdout


@contextmanager
def network(folder: Path) -> Iterator[Network]:
    """Hosts that are gone afterwards, whatever happens."""
    found = Network(folder)
    try:
        yield found
    finally:
        found.close()


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Poll once in half a second."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.5)


def undisturbed(folder: Path) -> dict[str, Any]:
    """The report of one process without Ray."""
    places = ["--storage", str(folder / "serial"), "--report", str(folder / "serial.json"), "--workers", "0"]
    with (folder / "serial.log").open("wb") as log:
        line = [sys.executable, "jobs/full_eval.py", *EVALUATION, *places]
        subprocess.run(line, cwd=ROOT, stdout=log, stderr=log, check=True, timeout=JOB_SECONDS)
    return json.loads((folder / "serial.json").read_text())  # type: ignore[no-any-return]


class Evaluation:
    """One evaluation as a submitted job.

    Args:
        hosts: the cluster.
        folder: where its report and its log go.
        name: of its folder in the object store.
    """

    def __init__(self, hosts: Network, folder: Path, name: str) -> None:
        self.report, self._prefix = folder / f"{name}.json", f"{BUCKET}/{name}"
        self._files = fsspec.filesystem("s3", endpoint_url=S3, key="none", secret="none", use_listings_cache=False)
        places = ["--storage", f"s3://{self._prefix}", "--report", str(self.report)]
        places += ["--mlflow-uri", f"sqlite:///{folder}/{name}.db"]
        job = ["--", "python", "jobs/full_eval.py", *EVALUATION, *places]
        submit = ["job", "submit", "--address", f"http://{HEAD}:8265", "--working-dir", ".", *job]
        self.process = hosts.start("uapfp1", sys.executable, "-m", "ray.scripts.scripts", *submit)

    @property
    def models(self) -> int:
        """Models in the store."""
        with suppress(FileNotFoundError):
            return len(self._files.ls(f"{self._prefix}/model", detail=False))
        return 0

    def finished(self) -> dict[str, Any]:
        """Its report."""
        wait_until(lambda: self.process.poll() is not None, JOB_SECONDS, "the job to end")
        return json.loads(self.report.read_text())  # type: ignore[no-any-return]


def cluster(hosts: Network) -> list[str]:
    """A head with the object store and two more hosts, all nodes of one cluster; the names of the two."""
    head = hosts.add()
    hosts.start(head, sys.executable, "-m", "moto.server", "-H", HEAD, "-p", S3.rsplit(":", 1)[1])
    hosts.ray(head)
    wait_until(lambda: answers(f"http://{HEAD}:8265/api/jobs/") and answers(S3), 120.0, "the head and the object store")
    fsspec.filesystem("s3", endpoint_url=S3, key="none", secret="none").mkdir(BUCKET)
    others = [hosts.add(), hosts.add()]
    for other in others:
        hosts.ray(other)
    return others


def answers(url: str) -> bool:
    """Whether a server is there."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def one_kill(hosts: Network, others: list[str], folder: Path, name: str, rng: random.Random) -> dict[str, Any]:
    """An evaluation in which a worker host dies at a random moment of the zoo stage, and another joins."""
    job = Evaluation(hosts, folder, name)
    moment = rng.randrange(1, N_MODELS - 4)
    wait_until(lambda: job.models >= moment or job.process.poll() is not None, JOB_SECONDS, f"{moment} models")
    victim = rng.choice(others)
    lost = hosts.kill(victim)
    print(f"{name}: host {victim} killed with {job.models} of {N_MODELS} models stored ({lost} processes)", flush=True)
    others.remove(victim)
    time.sleep(rng.uniform(0.0, 10.0))
    others.append(hosts.add())
    hosts.ray(others[-1])
    report = job.finished()
    hosts.remove(victim)
    return {**report, "stored": job.models}


def compare(report: dict[str, Any], reference: dict[str, Any]) -> list[str]:
    """What is not as it should be."""
    wrong = [key for key in ("verdicts", "auc_detail", "victim", "uap") if report[key] != reference[key]]
    counts = report["models"]
    if (counts["trained"], counts["reused"], counts["failed"], report["stored"]) != (N_MODELS, 0, 0, N_MODELS):
        wrong.append(f"models {counts}, {report['stored']} stored")
    return wrong


def job() -> None:
    """Build the hosts, kill, compare; the hosts are gone in the end."""
    chosen = tyro.cli(Hosts, description=__doc__)
    rng = random.Random(chosen.seed)
    with tempfile.TemporaryDirectory(prefix="hosts", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        reference = undisturbed(folder)
        right = 0
        try:
            with network(folder) as hosts:
                others = cluster(hosts)
                for i in range(chosen.kills):
                    wrong = compare(one_kill(hosts, others, folder, f"run{i + 1}", rng), reference)
                    right += not wrong
                    print(f"run{i + 1}: " + (f"NOT as undisturbed: {', '.join(wrong)}" if wrong else "as undisturbed"))
        finally:
            if chosen.keep is not None:
                shutil.copytree(
                    folder,
                    chosen.keep,
                    dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns("runtime_resources", "sockets", "serial"),
                )
        print(f"{right} of {chosen.kills} evaluations gave, bit for bit, the verdicts of the undisturbed one")
    if right < chosen.kills:
        raise SystemExit(1)


if __name__ == "__main__":
    main(job)
